// Make both TypeScript clients of an OpenAPI document: node generate.mjs [../openapi.json] [generated]
import { mkdir, writeFile } from 'node:fs/promises';
import { createClient } from '@hey-api/openapi-ts';
import openapiTS, { astToString } from 'openapi-typescript';
import ts from 'typescript';

const [document = '../openapi.json', folder = 'generated'] = process.argv.slice(2);
await mkdir(folder, { recursive: true });

// openapi-typescript makes a string of everything binary, unless it is told that fetch takes and gives a Blob
const blob = ts.factory.createTypeReferenceNode(ts.factory.createIdentifier('Blob'));
const transform = (schema) => (schema.format === 'binary' ? blob : undefined);
const types = await openapiTS(new URL(document, `file://${process.cwd()}/`), {
  transform,
  defaultNonNullable: false, // or every field of a spec that has a default would have to be sent
});
await writeFile(`${folder}/schema.d.ts`, astToString(types));

await createClient({
  input: document,
  output: { path: `${folder}/hey-api`, importFileExtension: '.js' },
  plugins: ['@hey-api/client-fetch', '@hey-api/typescript', '@hey-api/sdk'],
  logs: { level: 'silent' },
});
