// Upload, train, follow and predict with openapi-fetch: node compiled/openapi-fetch.js URL IMAGES.zip IMAGE
import { openAsBlob } from 'node:fs';
import { readFile } from 'node:fs/promises';
import createClient from 'openapi-fetch';
import type { components, paths } from './generated/schema.js';

type JobEvent = components['schemas']['JobEvent'];

const [url = 'http://127.0.0.1:8000', archive = 'images.zip', picture = 'image.png'] = process.argv.slice(2);
const client = createClient<paths>({ baseUrl: url });

/** Return what a call answered; its problem says what was wrong. */
function answered<Data>(reply: { data?: Data; error?: { detail?: string } | undefined }): Data {
  if (reply.data === undefined) throw new Error(reply.error?.detail ?? 'no answer');
  return reply.data;
}

/** Yield the events of a stream: each `data:` line is a JobEvent. */
async function* events(stream: ReadableStream<Uint8Array>): AsyncGenerator<JobEvent> {
  const decoder = new TextDecoder();
  let rest = '';
  for await (const bytes of stream) {
    const lines = (rest + decoder.decode(bytes, { stream: true })).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) if (line.startsWith('data:')) yield JSON.parse(line.slice(5)) as JobEvent;
  }
}

const dataset = answered(
  await client.POST('/datasets', {
    params: { query: { name: 'from openapi-fetch' } },
    headers: { 'Content-Type': 'application/zip' },
    body: await openAsBlob(archive),
    bodySerializer: (body) => body,
  }),
);
const job = answered(
  await client.POST('/train', {
    body: {
      name: 'openapi-fetch',
      dataset: dataset.id,
      input: { size: 32 },
      backbone: { kind: 'small_cnn' },
      augmentation: [{ kind: 'random_flip' }],
      training: { epochs: 1 },
      compression: null,
    },
  }),
) as components['schemas']['Job']; // 202; a dry run answers 200 with another shape

const seen = new Set<string>();
let last = '';
const stream = answered(
  await client.GET('/jobs/{job_id}/events', { params: { path: { job_id: job.id } }, parseAs: 'stream' }),
);
if (stream === null) throw new Error('the job has no events');
for await (const event of events(stream)) {
  seen.add(event.event);
  if (event.event === 'state') last = event.problem?.detail ?? event.state;
}
const ended = answered(await client.GET('/jobs/{job_id}', { params: { path: { job_id: job.id } } }));

const predicted = answered(
  await client.POST('/predict', {
    body: { model: 'openapi-fetch', inputs: [(await readFile(picture)).toString('base64')] },
  }),
);
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
