import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { packageRoot } from './package-files.ts'
import { projectSchema } from './schema.ts'
import { listFields } from './schema-tree.ts'

const text = readFileSync(join(packageRoot(), 'docs/reference/config.md'), 'utf8')
const rows = [...text.matchAll(/^\| `([\w.*]+)` \| (.+) \| (–|`[^|]*`) \| (.+) \|$/gm)].map(
  ([, field, type, written, example]) => ({ field: field!, type: type!, default: written!, example: example! }),
)

const columnMonitors = /^(models\.\*\.monitors)\.(drift|missing|unseen)\.(columns)$/
const sampleMonitors =
  /^(models\.\*\.monitors)\.(drift|missing|unseen|predictionDrift|predictedActual|quality)\.(minRows|alpha)$/
const everyMonitor = /^(models\.\*\.monitors)\.(\w+)\.(then|severity|runbook|raiseAfter|clearAfter)$/

/**
 * `train` takes the fields of a step, the environment of a step or server those of the model's, every metric the same bounds, every
 * monitor and service level what is common to them.
 */
const documentedOnce = (path: string) =>
  path
    .replace(/^models\.\*\.train\./, 'models.*.steps.*.')
    .replace(/^(models\.\*)\.(?:steps\.\*|serving\.(?:server|prepare))(\.environment\.)/, '$1$2')
    .replace(/^(models\.\*\.gate\.metrics)\.\w+\.(min|max)$/, '$1.*.$2')
    .replace(columnMonitors, '$1.*.$3')
    .replace(sampleMonitors, '$1.*.$3')
    .replace(everyMonitor, '$1.*.$3')
    .replace(/^(models\.\*\.slos)\.\w+\.(\w+)$/, '$1.*.$2')

const fields = new Map(listFields(projectSchema).map((field) => [documentedOnce(field.path), field]))

describe('docs/reference/config.md', () => {
  it('has every field of the schema once, and no other', () => {
    expect(rows.map((row) => row.field).toSorted()).toEqual([...fields.keys()].toSorted())
  })

  it('states the defaults of the schema', () => {
    const stated = rows.map((row) => [
      row.field,
      row.default === '–' ? undefined : JSON.parse(row.default.slice(1, -1)),
    ])
    expect(stated).toEqual(rows.map(({ field }) => [field, fields.get(field)!.default]))
  })

  it('shows an example of each field', () => {
    expect(rows.filter((row) => !/^(`.+`|see below)$/.test(row.example))).toEqual([])
  })

  it('says which fields are required', () => {
    // Of several forms of one value each requires its own fields, which the table does not repeat.
    const plain = rows.filter(
      (row) =>
        !/environment\.|\.sql$|staleAfter$|fallback\.|sticky\.|rules\.(header|parameter)$|combine\./.test(row.field),
    )
    const stated = plain.filter((row) => /[,;] required$/.test(row.type)).map((row) => row.field)
    expect(stated).toEqual(plain.map((row) => row.field).filter((field) => fields.get(field)!.required))
  })
})
