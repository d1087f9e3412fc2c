import { globSync, readFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

export const ROOT = fileURLToPath(new URL('../..', import.meta.url))

/** A fenced block: ```sh run retry``` has the language `sh` and the words `run` and `retry`. */
export interface Block {
  page: string
  /** Of the opening fence, from 1. */
  line: number
  language: string
  words: string[]
  /** From `name=value` behind the language. */
  values: Record<string, string>
  text: string
}

/** Pages whose snippets are run or checked. */
export function pagesWithSnippets(): string[] {
  return markdown(['README.md', 'docs/**/*.md', 'templates/*/README.md'])
}

/** Pages whose links are checked. */
export function allPages(): string[] {
  return markdown(['*.md', 'docs/**/*.md', 'templates/*/README.md', 'examples/*/README.md', 'bench/**/*.md'])
}

const markdown = (globs: string[]) =>
  globSync(globs, { cwd: ROOT, exclude: (path: string) => path.includes('node_modules') }).toSorted()

export const readPage = (page: string): string => readFileSync(join(ROOT, page), 'utf8')

/** Also blocks inside lists, whose fences are indented. */
export function blocksOf(page: string): Block[] {
  const blocks: Block[] = []
  let open: (Block & { indent: number; fence: string }) | null = null
  for (const [index, line] of readPage(page).split('\n').entries()) {
    const fence = /^( *)(```+)(.*)$/.exec(line)
    if (open === null && fence !== null) {
      const [language = '', ...rest] = fence[3]!.trim().split(/\s+/)
      const values = Object.fromEntries(
        rest.filter((w) => w.includes('=')).map((w) => w.split('=') as [string, string]),
      )
      const words = rest.filter((w) => !w.includes('='))
      open = { page, line: index + 1, language, words, values, text: '', indent: fence[1]!.length, fence: fence[2]! }
    } else if (open !== null && line.trim() === open.fence) {
      blocks.push(open)
      open = null
    } else if (open !== null) open.text += `${line.slice(open.indent)}\n`
  }
  if (open !== null) throw new Error(`${page}:${open.line}: the block is not closed`)
  return blocks
}

/** Commands in running text that are whole: `millrace gate show churn@2`, not `millrace <command>`. */
export function inlineCommands(page: string): string[] {
  const text = readPage(page).replace(/^ *```[\s\S]*?^ *```/gm, '')
  const commands = [...text.matchAll(/`((?:npx )?millrace [^`]+)`/g)].map((match) => match[1]!.replaceAll('\n', ' '))
  return commands.filter((command) => !/[<[…]/.test(command))
}

/** Commands that error messages and other texts of the program name in quotes; what is filled in counts as a word. */
export function commandsInMessages(): { file: string; command: string }[] {
  const files = globSync('src/**/*.ts', { cwd: ROOT }).filter((file) => !file.endsWith('.test.ts'))
  return files.flatMap((file) => {
    const quoted = readPage(file)
      .replaceAll(/\$\{[^}]*\}/g, 'x')
      .matchAll(/(?<=["`][^"`\n]*)'(millrace [^'`\n]+)'/g)
    return [...quoted].map(([, command]) => ({ file, command: command! }))
  })
}

export interface Link {
  page: string
  target: string
}

/** Links to files of this repository; with the anchor, where there is one. */
export function relativeLinks(page: string): Link[] {
  const text = readPage(page).replace(/^ *```[\s\S]*?^ *```/gm, '')
  const targets = [...text.matchAll(/\]\(([^)\s]+)\)/g)].map((match) => match[1]!)
  return targets.filter((target) => !/^[a-z]+:/.test(target)).map((target) => ({ page, target }))
}

/** @returns the file a link leads to, and the anchor in it or null */
export function resolveLink({ page, target }: Link): { path: string; anchor: string | null } {
  const [file = '', anchor = null] = target.split('#')
  const path = file === '' ? join(ROOT, page) : resolve(ROOT, dirname(page), decodeURIComponent(file))
  return { path, anchor }
}

/** Anchors as GitHub makes them from headings. */
export function anchorsOf(text: string): string[] {
  const headings = [...text.matchAll(/^#{1,6} (.+)$/gm)].map((match) => match[1]!)
  return headings.map((heading) =>
    heading
      .toLowerCase()
      .replace(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-'),
  )
}
