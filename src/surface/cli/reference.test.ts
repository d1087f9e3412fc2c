import type { Command } from 'commander'
import { expect, it } from 'vitest'

import { buildProgram } from './program.ts'
import { cliReference } from './reference.ts'

it('is what docs/reference/cli.md says, word for word', async () => {
  // After a change: npx vitest run --project fast src/surface/cli/reference.test.ts -u
  await expect(cliReference()).toMatchFileSnapshot('../../../docs/reference/cli.md')
})

const leaves = (command: Command): Command[] => {
  const own = command.commands.filter((c) => c.name() !== 'help')
  return own.length === 0 ? [command] : own.flatMap(leaves)
}

it('describes every command and every option', () => {
  const undescribed = leaves(buildProgram().program).flatMap((command) => [
    ...(command.description() === '' ? [command.name()] : []),
    ...command.options.filter((o) => o.description === '').map((o) => `${command.name()} ${o.flags}`),
  ])
  expect(undescribed).toEqual([])
})

const examples = [...cliReference().matchAll(/```sh\n([\s\S]*?)\n```/g)].flatMap((m) => m[1]!.split('\n'))

it('gives examples of every command', () => {
  const named = examples.map((line) => /(?:^|\| )millrace (\S+)/.exec(line)?.[1])
  const commands = buildProgram().program.commands.map((c) => c.name())
  expect(commands.filter((name) => name !== 'help' && !named.includes(name))).toEqual([])
})

it.each(examples)('knows every option of the example: %s', (line) => {
  expect(unknownOptions(line)).toEqual([])
})

/** Options of an example that neither its command nor the program has. */
function unknownOptions(line: string): string[] {
  const words = line
    .replace(/^.*\| (?=millrace)/, '')
    .replace(/\s[>|].*$/, '')
    .replace(/'[^']*'|"[^"]*"/g, 'x')
    .split(/\s+/)
    .slice(1)
  const { program } = buildProgram()
  let command: Command = program
  for (const word of words) command = command.commands.find((c) => c.name() === word) ?? command
  const known = [...command.options, ...command.commands.flatMap((c) => c.options), ...program.options]
  return words.filter((w) => /^--?[a-z]/.test(w) && !known.some((o) => o.short === w || o.long === w))
}
