import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { stripTypeScriptTypes } from 'node:module'
import { describe, expect, it } from 'vitest'
import { readYaml } from './locate-yaml.ts'
import { packageRoot } from './package-files.ts'
import { readProject } from './read-project.ts'
import { projectSchema } from './schema.ts'
import { listFields } from './schema-tree.ts'

const text = readFileSync(join(packageRoot(), 'docs/reference/config.md'), 'utf8')
const rows = [...text.matchAll(/^\| `([\w.*]+)` \| (.+) \| (–|`[^|]*`) \| (.+) \|$/gm)].map(
  ([, field, type, written, example]) => ({ field: field!, type: type!, default: written!, example: example! }),
)

/** `train` takes the fields of a step, a step's environment those of the model's, and every metric the same bounds. */
const documentedOnce = (path: string) =>
  path
    .replace(/^models\.\*\.train\./, 'models.*.steps.*.')
    .replace(/^(models\.\*)\.steps\.\*(\.environment\.)/, '$1$2')
    .replace(/^(models\.\*\.gate\.metrics)\.\w+\.(min|max)$/, '$1.*.$2')

const fields = new Map(listFields(projectSchema).map((field) => [documentedOnce(field.path), field]))

describe('docs/reference/config.md', () => {
  it('has every field of the schema once, and no other', () => {
    expect(rows.map((row) => row.field).toSorted()).toEqual([...fields.keys()].toSorted())
  })

  it('states the defaults of the schema', () => {
    for (const row of rows) {
      const declared = fields.get(row.field)!.default
      const stated = row.default === '–' ? undefined : (JSON.parse(row.default.slice(1, -1)) as unknown)
      expect(stated, row.field).toEqual(declared)
    }
  })

  it('says of each field what it takes, whether it is required, and an example', () => {
    for (const row of rows) {
      expect(row.example, row.field).toMatch(/^(`.+`|see below)$/)
      const oneOfSeveral = /environment\.|\.sql$|staleAfter$/.test(row.field)
      if (!oneOfSeveral) expect(/required$/.test(row.type), row.field).toBe(fields.get(row.field)!.required)
    }
  })

  it('shows a configuration that is valid, the same in TypeScript and YAML', () => {
    const [, ts] = /```ts\n([\s\S]*?)```/.exec(text)!
    const [, yaml] = /```yaml\n([\s\S]*?)```/.exec(text)!
    const code = stripTypeScriptTypes(ts!)
      .replace(/^import .*$/m, '')
      .replace('export default', 'return')
    const identity = (value: unknown) => value
    const written = new Function('defineProject', 'defineModel', code)(identity, identity) as unknown
    const file = readYaml(yaml!)
    expect(file.kind === 'value' ? file.value : null).toEqual(written)
    expect(readProject(written, '/work').kind).toBe('project')
  })
})
