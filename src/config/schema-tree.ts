import { z } from 'zod'

/**
 * Looks into the schema: what is known at a path, for advice on typos, and the list of all fields, against which the
 * reference in docs is held.
 */

export type Path = readonly (string | number)[]

/** The plain schemas behind a field: wrappers taken off, unions opened. */
export function alternatives(schema: z.core.$ZodType): z.core.$ZodType[] {
  if (schema instanceof z.ZodOptional || schema instanceof z.ZodPrefault) return alternatives(schema.def.innerType)
  if (schema instanceof z.ZodPipe) return alternatives(schema.def.in)
  if (schema instanceof z.ZodUnion) return schema.def.options.flatMap(alternatives)
  return [schema]
}

/** Every schema that a value at this path may have; none where the path leads nowhere. */
export function schemasAt(root: z.core.$ZodType, path: Path): z.core.$ZodType[] {
  return path.reduce<z.core.$ZodType[]>(
    (schemas, key) => schemas.flatMap((schema) => childrenOf(schema, key)),
    alternatives(root),
  )
}

/** Names of the fields known at this path. */
export function fieldNamesAt(root: z.core.$ZodType, path: Path): string[] {
  const names = schemasAt(root, path).flatMap((schema) =>
    schema instanceof z.ZodObject ? Object.keys(schema.shape) : [],
  )
  return [...new Set(names)]
}

/**
 * An example of a value at this path, as declared by the field.
 * @param beside - names written in the same object: of several forms the one that knows them is meant
 */
export function exampleAt(root: z.core.$ZodType, path: Path, beside: readonly string[]): unknown {
  const key = path.at(-1)
  const parents = schemasAt(root, path.slice(0, -1))
  const fitting = parents.filter(
    (schema) => schema instanceof z.ZodObject && beside.every((name) => Object.hasOwn(schema.shape, name)),
  )
  for (const schema of (fitting.length > 0 ? fitting : parents).flatMap((parent) =>
    key === undefined ? [] : childrenOf(parent, key),
  )) {
    const examples = z.globalRegistry.get(schema)?.examples as unknown[] | undefined
    if (examples !== undefined) return examples[0]
  }
  return undefined
}

export interface Field {
  /** `models.*.gate.margin`; `*` stands for a name, `[]` for an item of a list. */
  path: string
  required: boolean
  /** As a user would write it; undefined where there is none. */
  default: unknown
}

/** Every field of the schema, in order. */
export function listFields(root: z.core.$ZodType, prefix = ''): Field[] {
  const seen = new Map<string, Field>()
  for (const schema of alternatives(root)) {
    for (const field of fieldsWithin(schema, prefix)) if (!seen.has(field.path)) seen.set(field.path, field)
  }
  return [...seen.values()]
}

function fieldsWithin(schema: z.core.$ZodType, prefix: string): Field[] {
  if (schema instanceof z.ZodRecord) return listFields(schema.def.valueType, `${prefix}.*`)
  if (schema instanceof z.ZodArray) return listFields(schema.def.element, prefix)
  if (!(schema instanceof z.ZodObject)) return []
  return Object.entries(schema.shape as Record<string, z.core.$ZodType>).flatMap(([key, inner]) => {
    const path = prefix === '' ? key : `${prefix}.${key}`
    return [{ path, ...presence(inner) }, ...listFields(inner, path)]
  })
}

function presence(schema: z.core.$ZodType): { required: boolean; default: unknown } {
  if (schema instanceof z.ZodPrefault) return { required: false, default: schema.def.defaultValue }
  return { required: !(schema instanceof z.ZodOptional), default: undefined }
}

function childrenOf(schema: z.core.$ZodType, key: string | number): z.core.$ZodType[] {
  if (schema instanceof z.ZodRecord) return alternatives(schema.def.valueType)
  if (schema instanceof z.ZodArray) return typeof key === 'number' ? alternatives(schema.def.element) : []
  if (!(schema instanceof z.ZodObject)) return []
  const shape = schema.shape as Record<string, z.core.$ZodType>
  return Object.hasOwn(shape, key) ? alternatives(shape[key]!) : []
}
