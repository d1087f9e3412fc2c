import { buildProgram } from '../../src/surface/cli/program.ts'

/**
 * What is wrong with the `millrace` commands of a shell snippet: unknown commands and options, too many or too few
 * arguments. They are not run.
 */
export function wrongCommands(script: string): string[] {
  return commandsOf(script).flatMap((words) => {
    const why = problemWith(words)
    return why === null ? [] : [`millrace ${words.join(' ')}: ${why}`]
  })
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

function problemWith(words: string[]): string | null {
  const { program } = buildProgram()
  let [command, rest] = [program, program.parseOptions(words)]
  let args = [...rest.operands, ...rest.unknown]
  for (;;) {
    const sub = command.commands.find((c) => c.name() === args[0] || c.aliases().includes(args[0] ?? ''))
    if (sub === undefined) break
    command = sub
    rest = command.parseOptions(args.slice(1))
    args = [...rest.operands, ...rest.unknown]
  }
  if (command === program && args.length > 0) return args[0] === 'help' ? null : `there is no command '${args[0]}'`
  const unknown = program.parseOptions(rest.unknown)
  if (unknown.unknown.length > 0) return `there is no option ${unknown.unknown[0]}`
  const given = [...rest.operands, ...unknown.operands].length
  const wanted = command.registeredArguments
  if (given > wanted.length) return `takes ${wanted.length} arguments, not ${given}`
  const required = wanted.filter((argument) => argument.required).length
  return given < required ? `needs ${required} arguments, not ${given}` : null
}
