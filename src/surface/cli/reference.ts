import type { EventEmitter } from 'node:events'
import type { Argument, Command, Option } from 'commander'

import { EXIT, EXIT_MEANINGS } from './exit-codes.ts'
import { buildProgram } from './program.ts'

/** docs/reference/cli.md, made from the commands themselves; a test holds the file against it. */
export function cliReference(): string {
  const { program } = buildProgram()
  return [
    INTRODUCTION,
    `## Exit codes\n\n| Code | Meaning |\n|---|---|\n${exitRows()}`,
    `## Environment\n\n| Variable | Meaning |\n|---|---|\n${ENVIRONMENT.map(([name, text]) => `| \`${name}\` | ${text} |`).join('\n')}`,
    `## Options of every command\n\n${optionTable(program)}`,
    '## Commands',
    ...program.commands.flatMap((command) => sections(command, 'millrace')),
  ]
    .join('\n\n')
    .concat('\n')
}

const INTRODUCTION = `# Command line

\`millrace <command> [options]\`. \`millrace help <command>\` prints what is said here.

- Versions are written \`model@number\` or \`model@alias\`: \`late-flight@7\`, \`late-flight@champion\`.
- Times are ISO 8601 with a zone (\`2001-03-01T06:00:00Z\`); a date alone is midnight UTC. Durations are \`30s\`, \`15m\`, \`2h\`, \`7d\`.
- The data directory is \`.millrace\` beside the nearest configuration file, searched upwards from the working directory.
- With \`--json\` stdout gets one JSON document, or one line per item where output streams (\`logs\`, \`events -f\`,
  \`status --watch\`, \`serve\`, \`up\`). Fields are those of the API document (\`millrace open\`).
- Errors go to stderr as \`error: …\` and \`fix: …\`; with \`--json\` as \`{"error": {"code", "kind", "message", "fix", "retryable"}}\`.`

const ENVIRONMENT: [string, string][] = [
  ['MILLRACE_DATA_DIR', 'data directory, as `--data-dir`'],
  ['MILLRACE_URL, MILLRACE_TOKEN', 'control plane over TCP, as `--url` and `--token`'],
  ['MILLRACE_GATEWAY', "the gateway's URL for `predict` and `feedback`, as `--gateway`"],
  ['MILLRACE_KEY', "a caller's key for `predict` and `feedback`, which a gateway on another machine asks for"],
  ['MILLRACE_DATABASE_URL', '`up` keeps its state in this PostgreSQL'],
  ['MILLRACE_BY', 'name that is kept with what you change (default: your user name)'],
  ['MILLRACE_DEBUG', 'errors show their stack'],
  ['NO_COLOR', 'no colours'],
]

function exitRows(): string {
  return (Object.keys(EXIT) as (keyof typeof EXIT)[])
    .map((name) => `| ${EXIT[name]} | ${EXIT_MEANINGS[name]} |`)
    .join('\n')
}

function sections(command: Command, prefix: string): string[] {
  if (command.name() === 'help') return []
  const path = `${prefix} ${command.name()}`
  const { notes, examples } = helpText(command)
  const parts = [
    `### \`${[path, ...command.registeredArguments.map(argumentText)].join(' ')}\``,
    sentence(command.description()),
    notes,
    command.options.length === 0 ? '' : optionTable(command),
    examples === '' ? '' : `\`\`\`sh\n${examples}\n\`\`\``,
  ]
  const own = parts.filter((part) => part !== '').join('\n\n')
  return [own, ...command.commands.flatMap((sub) => sections(sub, path))]
}

/** What a command adds after its help: notes, then examples. */
function helpText(command: Command): { notes: string; examples: string } {
  let text = ''
  // Commander keeps what was given to addHelpText as listeners of its own emitter, which its types leave out.
  const emitter = command as unknown as EventEmitter
  emitter.emit('afterHelp', { command, error: false, write: (piece: string) => (text += piece) })
  const [notes = '', examples = ''] = text.split('Examples:')
  const lines = examples
    .trim()
    .split('\n')
    .map((line) => line.trim())
  return { notes: notes.trim(), examples: lines.join('\n') }
}

function optionTable(command: Command): string {
  return ['| Option | |', '|---|---|', ...command.options.map(optionRow)].join('\n')
}

function optionRow({ flags, description, defaultValue, negate }: Option): string {
  const shown = defaultValue === undefined || negate ? '' : ` (default: \`${String(defaultValue)}\`)`
  return `| \`${flags}\` | ${description.replaceAll('|', '\\|')}${shown} |`
}

const sentence = (text: string) => `${text.charAt(0).toUpperCase()}${text.slice(1)}.`

function argumentText(argument: Argument): string {
  const name = argument.variadic ? `${argument.name()}...` : argument.name()
  return argument.required ? `<${name}>` : `[${name}]`
}
