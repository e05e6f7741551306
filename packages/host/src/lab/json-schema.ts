/**
 * The published JSON Schema of lab files, `lab.schema.json`, made from the schema that reading uses. An editor
 * that is told of it completes keys and shows mistakes while one types.
 */
import { toJsonSchema } from '@valibot/to-json-schema';
import { LAB_VERSION, LabFileSchema } from './schema.js';

/** Where the published schema is found. */
export const LAB_SCHEMA_ID = 'https://unpkg.com/@netaccel/host@1/lab.schema.json';

/** The JSON Schema (draft-07, which editors know best) of lab files of version {@link LAB_VERSION}. */
export function labJsonSchema(): Readonly<Record<string, unknown>> {
  const { $schema, ...schema } = toJsonSchema(LabFileSchema, { target: 'draft-07', typeMode: 'input' });
  return { $schema, $id: LAB_SCHEMA_ID, $comment: `lab: ${LAB_VERSION}`, ...schema };
}

/** The same as the text of the file, laid out as prettier would. */
export function labJsonSchemaText(): string {
  const text = JSON.stringify(labJsonSchema(), null, 2);
  return `${text.replace(/\[\s+([^[\]{}]*?)\s+\]/g, (_, items: string) => `[${items.replace(/\s*\n\s*/g, ' ')}]`)}\n`;
}
