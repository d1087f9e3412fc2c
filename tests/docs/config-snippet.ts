import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { loadProject } from '../../src/config/load.ts'
import { messageOf } from '../../src/kernel/errors.ts'

/**
 * Checks a configuration as `millrace validate` does. A snippet that is no whole file is taken as fields of a model.
 * @returns what is wrong, or null
 */
export async function configProblem(language: 'ts' | 'yaml', snippet: string): Promise<string | null> {
  const dir = await mkdtemp(join(tmpdir(), 'millrace-docs-config-'))
  try {
    const file = join(dir, language === 'ts' ? 'millrace.config.ts' : 'millrace.yaml')
    await writeFile(file, language === 'ts' ? wholeCode(snippet) : wholeYaml(snippet))
    await writeFile(join(dir, 'requirements.lock'), '')
    await loadProject({ configPath: file, cwd: dir })
    return null
  } catch (error) {
    return messageOf(error)
  } finally {
    await rm(dir, { recursive: true, force: true })
  }
}

function wholeCode(snippet: string): string {
  if (snippet.includes('defineProject')) return snippet
  return `import { defineModel, defineProject } from 'millrace'
export default defineProject({ name: 'snippet', models: { snippet: defineModel({
${missingFields(snippet, (name, value) => `${name}: '${value}',`)}
${snippet}
}) } })`
}

function wholeYaml(snippet: string): string {
  if (/^models:/m.test(snippet)) return snippet
  const fields = `${missingFields(snippet, (name, value) => `${name}: ${value}`)}\n${snippet}`
  const indented = fields.split('\n').map((line) => `    ${line}`)
  return `name: snippet\nmodels:\n  snippet:\n${indented.join('\n')}`
}

/** What a model needs to be complete, as far as the snippet does not say it. */
function missingFields(snippet: string, field: (name: string, value: string) => string): string {
  const has = (name: string) => new RegExp(`^ *${name}:`, 'm').test(snippet)
  const parts = []
  if (!has('train') && !has('steps')) parts.push(field('train', 'python train.py'))
  if (!has('task')) parts.push(field('task', 'binary'))
  if (!has('label')) parts.push(field('label', 'late'))
  if (!has('holdout')) parts.push(field('holdout', 'data/holdout.csv'))
  return parts.join('\n')
}
