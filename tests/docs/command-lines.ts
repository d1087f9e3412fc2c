import { CommanderError } from 'commander'
import type { Command } from 'commander'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { buildProgram } from '../../src/surface/cli/program.ts'
import { ROOT } from './markdown.ts'

/**
 * What is wrong with the `millrace` commands of a shell snippet: unknown commands and options, too many or too few
 * arguments. They are not run.
 * @param how - of commands that running text mentions, arguments may be missing
 */
export function wrongCommands(script: string, how: 'whole' | 'mentioned' = 'whole'): string[] {
  return commandsOf(script).flatMap((words) => {
    const why = problemWith(words, how === 'mentioned')
    return why === null ? [] : [`millrace ${words.join(' ')}: ${why}`]
  })
}

/** `npm run` of tasks that package.json does not have. */
export function unknownScripts(text: string): string[] {
  const { scripts } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
    scripts: Record<string, string>
  }
  const named = [...text.matchAll(/\bnpm run ([\w:-]+)/g)].map((match) => match[1]!)
  return named.filter((name) => !Object.hasOwn(scripts, name)).map((name) => `npm run ${name}: there is no such script`)
}

/** Every `millrace …` of a script as its words. */
function commandsOf(script: string): string[][] {
  const lines = script.replaceAll('\\\n', ' ').split('\n')
  return lines.flatMap((line) =>
    simpleCommands(line)
      .map((words) => words.filter((word, i) => i === 0 || !/^[A-Z_]+=/.test(word)))
      .map((words) => (words[0] === 'npx' ? words.slice(1) : words))
      .filter(([first]) => first === 'millrace')
      .map((words) => words.slice(1)),
  )
}

/** Enough of the shell for documentation: quotes, comments, `|`, `&&`, `;`, `$( )` and redirections. */
function simpleCommands(line: string): string[][] {
  const commands: string[][] = [[]]
  for (const [token] of line.matchAll(/(?:'[^']*'|"[^"]*"|[^\s'"|;&<>()])+|\|\|?|&&|;|\$?\(|\)|[<>]+ ?\S+/g)) {
    if (token.startsWith('#')) break
    if (/^[<>]/.test(token)) continue
    if (/^(\|\|?|&&|;|\$?\(|\))$/.test(token)) commands.push([])
    else if (commands.at(-1)!.length > 0 || !/^\w+=/.test(token)) commands.at(-1)!.push(token)
  }
  return commands.filter((words) => words.length > 0)
}

function problemWith(words: string[], mayLackArguments: boolean): string | null {
  try {
    return problemIn(words, mayLackArguments)
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error
    return mayLackArguments && error.code === 'commander.optionMissingArgument' ? null : error.message
  }
}

function problemIn(words: string[], mayLackArguments: boolean): string | null {
  const { program } = buildProgram()
  silence(program)
  let [command, rest] = [program, program.parseOptions(words)]
  let args = [...rest.operands, ...rest.unknown]
  for (;;) {
    const named = command.commands.find((c) => c.name() === args[0] || c.aliases().includes(args[0] ?? ''))
    // `millrace backfill churn` is `millrace backfill start churn`; commander does not tell which one it takes.
    const implied = command.commands.find((c) => c.name() === Reflect.get(command, '_defaultCommandName'))
    const sub = named ?? implied
    if (sub === undefined) break
    command = sub
    rest = command.parseOptions(named === undefined ? args : args.slice(1))
    args = [...rest.operands, ...rest.unknown]
  }
  if (command === program && args.length > 0) return args[0] === 'help' ? null : `there is no command '${args[0]}'`
  // Commander gives every command this one by itself.
  const unknown = program.parseOptions(rest.unknown.filter((option) => option !== '--help'))
  if (unknown.unknown.length > 0) return `there is no option ${unknown.unknown[0]}`
  const given = [...rest.operands, ...unknown.operands].length
  const wanted = command.registeredArguments
  const takesMany = wanted.at(-1)?.variadic === true
  if (given > wanted.length && !takesMany) return `takes ${wanted.length} arguments, not ${given}`
  const required = wanted.filter((argument) => argument.required).length
  return given < required && !mayLackArguments ? `needs ${required} arguments, not ${given}` : null
}

/** What is wrong is told by the test. */
function silence(command: Command): void {
  command.configureOutput({ writeErr: () => {} })
  for (const sub of command.commands) silence(sub)
}
