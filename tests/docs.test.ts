import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { messageOf } from '../src/kernel/errors.ts'
import { unknownScripts, wrongCommands } from './docs/command-lines.ts'
import { configProblem } from './docs/config-snippet.ts'
import {
  allPages,
  anchorsOf,
  blocksOf,
  commandsInMessages,
  inlineCommands,
  pagesWithSnippets,
  readPage,
  relativeLinks,
  resolveLink,
  ROOT,
} from './docs/markdown.ts'
import type { Block } from './docs/markdown.ts'
import { matchesOutput } from './docs/masked.ts'
import { hasPython, pythonForModels, startProject } from './docs/running-project.ts'
import { hasCommand } from '../src/testing/has-command.ts'
import type { Ended, RunningProject } from './docs/running-project.ts'
import { stateMachinesPage } from './docs/state-machines.ts'

/*
 * Every snippet of README.md, docs/ and the templates' READMEs is checked. What happens to a block is said behind the
 * language of its fence, which readers do not see:
 *
 *   sh              its `millrace` commands and their options exist; nothing is run
 *   sh run          is run in a project as `millrace init` makes it, up and serving; must end with 0
 *   sh run exit=5   must end with 5
 *   sql run         is run by `millrace lake query`, python run by python3 (skipped where there is none)
 *                   (the run blocks of a page that calls curl are skipped where there is none)
 *   … needs=curl    shows what another page's curl has done: the same
 *   python          has no syntax error
 *   python file=…   is that file of the page's own project, which is brought up where MILLRACE_TEST_PYTHON can train it
 *   text output     what the block before it printed; numbers, times and ids may differ, `…` stands for anything
 *   json output     the same
 *   … run retry     is run again for a while until it ends well and the output that follows is right
 *   json            is JSON
 *   ts, yaml        a configuration, or fields of a model: `millrace validate` finds nothing
 *   … exit=2        is refused by it, in the words of the output that follows
 *   ts apply        fields of the project: they are added to the one that is up, and applied
 *   js              has no syntax error
 *   mermaid, text   is not checked
 */

const RETRY_MS = 30_000
const pages = pagesWithSnippets()
const python = hasPython()
const curl = hasCommand('curl')

const callsCurl = (block: Block) =>
  block.words.includes('run') && (block.values['needs'] === 'curl' || /\bcurl\b/.test(block.text))

function jsonProblem(text: string): string | null {
  try {
    JSON.parse(text)
    return null
  } catch (error) {
    return messageOf(error)
  }
}

describe('snippets', () => {
  let project: RunningProject

  beforeAll(async () => {
    project = await startProject('millrace init project')
  })
  afterAll(async () => {
    await project?.close()
  })

  for (const page of pages) {
    /** What the last block that was run printed. */
    let printed: { ended: Ended; again: (() => Promise<Ended>) | null } | null = null
    /** The block that an output belongs to. */
    let source: Block | null = null
    const lacksCurl = !curl && blocksOf(page).some(callsCurl)
    for (const block of blocksOf(page)) {
      if (!block.words.includes('output')) source = block
      const lacksPython = !python && source?.language === 'python'
      // What a page's later blocks print follows from its earlier ones.
      const isRun = block.words.includes('run') || block.words.includes('output')
      const aside = lacksCurl && isRun ? ' (install curl to run it)' : ''
      it.skipIf(lacksPython || (lacksCurl && isRun))(
        `${page}:${block.line} ${[block.language, ...block.words].join(' ')}${aside}`,
        async () => {
          expect(await problemWith(block)).toBeNull()
        },
      )
    }

    function problemWith(block: Block): Promise<string | null> | string | null {
      if (block.words.includes('output')) return otherOutput(block)
      if (block.words.includes('run')) return run(block)
      switch (block.language) {
        case 'sh':
          return wrongCommands(block.text).join('\n') || null
        case 'json':
          return jsonProblem(block.text)
        case 'python':
          return syntaxProblem(block.text)
        case 'js':
          return scriptProblem(block.text)
        case 'ts':
        case 'yaml':
          return block.words.includes('apply') ? apply(block.text) : config(block.language, block)
        case 'mermaid':
        case 'text':
          return null
        default:
          return `'${block.language}' is neither run nor checked; tests/docs.test.ts says how to mark it.`
      }
    }

    async function run(block: Block): Promise<string | null> {
      const exit = Number(block.values['exit'] ?? 0)
      const again = block.words.includes('retry') ? () => execute(block) : null
      const deadlineMs = performance.now() + RETRY_MS
      let ended = await execute(block)
      while (ended.code !== exit && again !== null && performance.now() < deadlineMs) {
        await sleep(500)
        ended = await again()
      }
      printed = { ended, again }
      return ended.code === exit ? null : `It ended with ${ended.code}, not ${exit}: ${ended.output}`
    }

    function execute({ language, text }: Block): Promise<Ended> {
      if (language === 'sh') return project.sh(text)
      if (language === 'python') return project.python(text)
      if (language === 'sql') return project.sh(`millrace lake query "$(cat <<'SQL'\n${text}\nSQL\n)"`)
      throw new Error(`${language} can't be run`)
    }

    async function otherOutput({ text }: Block): Promise<string | null> {
      if (printed === null) return 'There is no block before it that was run.'
      const deadlineMs = performance.now() + RETRY_MS
      while (!matchesOutput(printed.ended.output, text) && printed.again && performance.now() < deadlineMs) {
        await sleep(500)
        printed.ended = await printed.again()
      }
      return matchesOutput(printed.ended.output, text) ? null : `Printed was\n${printed.ended.output}`
    }

    async function syntaxProblem(code: string): Promise<string | null> {
      const { code: exit, output } = await project.python(`import ast\nast.parse(${JSON.stringify(code)})`)
      return exit === 0 ? null : output
    }

    async function scriptProblem(code: string): Promise<string | null> {
      const { code: exit, output } = await project.sh(
        `cat > .snippet.mjs <<'EOF'\n${code}\nEOF\n'${process.execPath}' --check .snippet.mjs`,
      )
      return exit === 0 ? null : output
    }

    async function apply(fields: string): Promise<string | null> {
      const { code: exit, output } = await project.sh(
        `cat > .fields <<'EOF'\n${fields}\nEOF\nsed -i '/defineProject({/r .fields' millrace.config.ts\nmillrace apply`,
      )
      return exit === 0 ? null : output
    }

    async function config(language: 'ts' | 'yaml', { text, values }: Block): Promise<string | null> {
      const problem = await configProblem(language, text)
      if (values['exit'] === undefined) return problem
      printed = { ended: { code: 2, output: `error: ${problem}` }, again: null }
      return problem === null ? 'Nothing is wrong with it.' : null
    }
  }

  it.each(pages.filter((page) => page !== 'docs/reference/cli.md'))('%s names commands that exist', (page) => {
    expect(inlineCommands(page).flatMap((command) => wrongCommands(command, 'mentioned'))).toEqual([])
  })
})

it('error messages name commands that exist', () => {
  const wrong = commandsInMessages().flatMap(({ file, command }) =>
    wrongCommands(command, 'mentioned').map((why) => `${file}: ${why}`),
  )
  expect(wrong).toEqual([])
})

describe('docs/guides/your-own-model.md', () => {
  const command = pythonForModels()

  it.skipIf(command === null)('takes its train.py and CSV files to an answer', async () => {
    const blocks = blocksOf('docs/guides/your-own-model.md')
    const files = blocks.filter(({ values }) => values['file'] !== undefined)
    const written = files.map(({ values, text }) => `cat > ${values['file']} <<'EOF'\n${text}EOF`).join('\n')
    const made = `mkdir -p project/data && cd project\n${written}\n${command} make_data.py && ${command} train.py`
    const project = await startProject(made, command)
    try {
      const request = blocks.find(({ text }) => text.includes('/v2/models/tumour/infer'))!
      const { output } = await project.sh(request.text)
      expect(output).toMatch(/"name":"probabilities","datatype":"FP32","shape":\[1,2\],"data":\[0\.0\d+,0\.9\d+\]/)
      expect((await project.sh('millrace gate show tumour@1')).output).toContain('Better than a constant')
    } finally {
      await project.close()
    }
  })
})

it.each(allPages())('%s names npm scripts that exist', (page) => {
  expect(unknownScripts(readPage(page))).toEqual([])
})

describe('links', () => {
  it.each(allPages())('%s leads to files and headings that exist', (page) => {
    const dead = relativeLinks(page).filter((link) => {
      const { path, anchor } = resolveLink(link)
      if (!existsSync(path)) return true
      return anchor !== null && statSync(path).isFile() && !anchorsOf(readFileSync(path, 'utf8')).includes(anchor)
    })
    expect(dead.map(({ target }) => target)).toEqual([])
  })

  it('lead from docs/README.md to every guide and reference', () => {
    const linked = relativeLinks('docs/README.md').map((link) => resolveLink(link).path)
    const written = pages.filter((page) => /^docs\/(guides|reference)\//.test(page)).map((page) => join(ROOT, page))
    expect(written.filter((path) => !linked.includes(path))).toEqual([])
  })
})

describe('state machines', () => {
  it('are drawn in docs/reference/state-machines.md as they are in the code', () => {
    const page = 'docs/reference/state-machines.md'
    const drawn = stateMachinesPage()
    if (process.env['UPDATE_DOCS'] === '1') writeFileSync(join(ROOT, page), drawn)
    expect(readPage(page)).toBe(drawn)
  })
})
