// Makes lab.schema.json, the published JSON Schema of lab files, from the schema that reading uses. A test
// fails when it is not current. Run it after a build: node scripts/make-lab-schema.mjs
import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const { labJsonSchemaText } = await import(new URL('../dist/index.js', import.meta.url).href);
const path = fileURLToPath(new URL('../lab.schema.json', import.meta.url));
writeFileSync(path, labJsonSchemaText());
console.log(path);
