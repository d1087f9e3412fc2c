import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { wrongCommands } from './docs/command-lines.ts'
import { configProblem } from './docs/config-snippet.ts'
import {
  allPages,
  anchorsOf,
  blocksOf,
  pagesWithSnippets,
  readPage,
  relativeLinks,
  resolveLink,
  ROOT,
} from './docs/markdown.ts'
import type { Block } from './docs/markdown.ts'
import { masked, matchesOutput } from './docs/masked.ts'
import { hasPython, startProject } from './docs/running-project.ts'
import type { Ended, RunningProject } from './docs/running-project.ts'
import { stateMachinesPage } from './docs/state-machines.ts'

/*
 * Every snippet of README.md, docs/ and the templates' READMEs is checked. What happens to a block is said behind the
 * language of its fence, which readers do not see:
 *
 *   sh              its `millrace` commands and their options exist; nothing is run
 *   sh run          is run in a project as `millrace init` makes it, up and serving; must end with 0
 *   sh run exit=5   must end with 5
 *   python, sql run is run as well: by python3, by `millrace lake query`
 *   python          has no syntax error
 *   text output     what the block before it printed; numbers, times and ids may differ, `…` stands for anything
 *   json output     the same
 *   … run retry     is run again for a while until the output that follows is right
 *   json            is JSON
 *   ts, yaml        a configuration, or fields of a model: `millrace validate` finds nothing
 *   … exit=2        is refused by it, in the words of the output that follows
 *   mermaid, text   is not checked
 */

const RETRY_MS = 25_000
const pages = pagesWithSnippets()
const blocks = pages.flatMap((page) => blocksOf(page))
const python = hasPython()

describe('snippets', () => {
  let project: RunningProject
  /** What the last block that was run in the page printed. */
  let last: { page: string; ended: Ended; again: () => Promise<Ended> } | null = null

  beforeAll(async () => {
    project = await startProject()
  })
  afterAll(async () => {
    await project?.close()
  })

  for (const block of blocks) {
    const title = `${block.page}:${block.line} ${[block.language, ...block.words].join(' ')}`
    it.skipIf(block.language === 'python' && !python)(title, async () => {
      if (block.words.includes('run')) return runBlock(block)
      if (block.words.includes('output')) return compare(block)
      return check(block)
    })
  }

  async function runBlock(block: Block): Promise<void> {
    const again = () => execute(block)
    last = {
      page: block.page,
      ended: await again(),
      again: block.words.includes('retry') ? again : () => last!.ended as never,
    }
    expect(last.ended, block.text).toMatchObject({ code: Number(block.values['exit'] ?? 0) })
  }

  function execute({ language, text }: Block): Promise<Ended> {
    if (language === 'sh') return project.sh(text)
    if (language === 'python') return project.python(text)
    if (language === 'sql') return project.sh(`millrace lake query "$(cat <<'SQL'\n${text}\nSQL\n)"`)
    throw new Error(`${language} can't be run`)
  }

  async function compare(block: Block): Promise<void> {
    if (last?.page !== block.page) throw new Error('There is no block before it that was run')
    const deadlineMs = performance.now() + RETRY_MS
    while (!matchesOutput(last.ended.output, block.text) && performance.now() < deadlineMs) {
      const next = await last.again()
      if (next === last.ended) break
      last.ended = next
      await sleep(500)
    }
    if (!matchesOutput(last.ended.output, block.text)) expect(masked(last.ended.output)).toBe(masked(block.text))
  }

  async function check(block: Block): Promise<void> {
    switch (block.language) {
      case 'sh':
        return expect(wrongCommands(block.text)).toEqual([])
      case 'json':
        return void JSON.parse(block.text)
      case 'python':
        return expect(await project.python(`import ast\nast.parse(${JSON.stringify(block.text)})`)).toMatchObject({
          code: 0,
        })
      case 'ts':
      case 'yaml': {
        const problem = await configProblem(block.language, block.text)
        if (block.values['exit'] === undefined) return expect(problem).toBeNull()
        const ended = { code: 2, output: `error: ${problem}` }
        last = { page: block.page, ended, again: async () => ended }
        return expect(problem).not.toBeNull()
      }
      case 'mermaid':
      case 'text':
        return
      default:
        throw new Error(
          `A block '${block.language}' is neither run nor checked; tests/docs.test.ts says how to mark it.`,
        )
    }
  }
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

  it('reach every guide and reference from README.md or docs/README.md', () => {
    const linked = ['README.md', 'docs/README.md'].flatMap((page) =>
      relativeLinks(page).map((l) => resolveLink(l).path),
    )
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
