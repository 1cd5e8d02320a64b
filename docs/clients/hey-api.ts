// Upload, train, follow and predict with @hey-api/openapi-ts: node compiled/hey-api.js URL IMAGES.zip IMAGE
import { openAsBlob } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { client } from './generated/hey-api/client.gen.js';
import { datasetCreate, jobEvents, jobGet, predictCreate, trainCreate, type Job } from './generated/hey-api/index.js';

const [url = 'http://127.0.0.1:8000', archive = 'images.zip', picture = 'image.png'] = process.argv.slice(2);
client.setConfig({ baseUrl: url, throwOnError: true });

const { data: dataset } = await datasetCreate({
  query: { name: 'from hey-api' },
  body: await openAsBlob(archive),
  throwOnError: true,
});
const { data: accepted } = await trainCreate({
  body: {
    name: 'hey-api',
    dataset: dataset.id,
    input: { size: 32 },
    backbone: { kind: 'small_cnn' },
    augmentation: [{ kind: 'random_flip' }],
    training: { epochs: 1 },
    compression: null,
  },
  throwOnError: true,
});
const job = accepted as Job; // 202; a dry run answers 200 with another shape

const seen = new Set<string>();
let last = '';
const { stream } = await jobEvents({ path: { job_id: job.id } });
for await (const event of stream) {
  if (!event) break; // 204: nothing to follow
  seen.add(event.event);
  if (event.event !== 'state') continue;
  last = event.problem?.detail ?? event.state;
  if (['succeeded', 'failed', 'canceled'].includes(event.state)) break; // or it would connect again
}
const { data: ended } = await jobGet({ path: { job_id: job.id }, throwOnError: true });

const { data: predicted } = await predictCreate({
  body: { model: 'hey-api', inputs: [(await readFile(picture)).toString('base64')] },
  throwOnError: true,
});
const first = predicted.predictions[0];
const label = first !== undefined && 'label' in first ? first.label : null;
console.log(
  JSON.stringify({
    images: dataset.images,
    events: [...seen].sort(),
    state: last,
    optimizer: ended.spec.optimizer.kind,
    version: ended.result?.version,
    label,
  }),
);
