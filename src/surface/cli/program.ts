import { Command, CommanderError } from 'commander'

import { MillraceError, messageOf } from '../../kernel/errors.ts'
import { version } from '../../version.ts'
import { Cli, type GlobalOptions } from './cli.ts'
import { commands } from './commands/index.ts'
import { UsageError } from './errors.ts'
import { EXIT, exitCodeOf } from './exit-codes.ts'

const HELP_FIX = 'Run it with --help to see what it takes.'

/** Every command with its options; what a command does is loaded when it runs. */
export function buildProgram(): { program: Command; cli: Cli } {
  const program = new Command('millrace')
  const cli = new Cli(() => program.opts<GlobalOptions>())
  program
    .description('From training to a served, logged prediction, and keeps doing so by itself.')
    .version(version, '-V, --version')
    .option('--json', 'print JSON: one document, or one line per item for streams')
    .option('--config <file>', 'configuration file (default: the nearest upwards)')
    .option('--data-dir <dir>', 'data directory (default: .millrace beside the configuration; env MILLRACE_DATA_DIR)')
    .option('--url <url>', 'speak to a control plane over TCP (env MILLRACE_URL)')
    .option('--token <token>', 'its token (better: env MILLRACE_TOKEN)')
    .option('--no-color', 'no colours (also: env NO_COLOR, or a pipe)')
    .configureHelp({ showGlobalOptions: true, sortSubcommands: false })
    .configureOutput({ writeErr: (text) => void (asksJson() || process.stderr.write(text)) })
    .showSuggestionAfterError()
    .showHelpAfterError(`fix: ${HELP_FIX}`)
    .exitOverride()
    .addHelpText('after', EXAMPLES)
    .hook('preAction', (_program, command) => {
      refuseEmptyArgument(command)
      refuseBlankReason(command)
    })
  for (const define of commands) define(program, cli)
  return { program, cli }
}

/** As of a variable of the shell that is not set. */
function refuseEmptyArgument(command: Command): void {
  const empty = command.registeredArguments.find((_argument, a) => command.args[a]?.trim() === '')
  if (empty !== undefined) throw new UsageError(`The argument '${empty.name()}' is empty.`, HELP_FIX)
}

function refuseBlankReason(command: Command): void {
  const { why } = command.opts<{ why?: string }>()
  if (why !== undefined && why.trim() === '')
    throw new UsageError(
      'A reason is needed: --why is empty.',
      'Write for example --why "complaints from the desk": it is kept.',
    )
}

const FULL: ReadonlySet<string | undefined> = new Set(['ENOSPC', 'EDQUOT'])

/** Runs one command line. @returns the exit code; errors are printed, never thrown */
export async function runCli(args: string[]): Promise<number> {
  const { program, cli } = buildProgram()
  const onLost = (error: NodeJS.ErrnoException): void => {
    if (cli.outlivesItsWords && FULL.has(error.code)) return
    throw error
  }
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit(EXIT.ok) // the reader has seen enough: `millrace runs | head`
    onLost(error)
  })
  process.stderr.on('error', onLost)
  try {
    await program.parseAsync(args, { from: 'user' })
    return cli.exitCode
  } catch (error) {
    if (error instanceof CommanderError) return usageExit(error, args)
    printError(error, asksJson(args), cli)
    return exitCodeOf(error)
  }
}

/** Also before the options are parsed, or when they can't be. */
const asksJson = (args: string[] = process.argv.slice(2)) => args.includes('--json')

/** Commander has printed help and usage errors itself; only a JSON reader needs them once more. */
function usageExit(error: CommanderError, args: string[]): number {
  if (error.exitCode === 0) return EXIT.ok
  if (error.code === 'commander.help') return EXIT.usage
  if (asksJson(args)) {
    const facts = new UsageError(error.message.replace(/^error: /, ''), HELP_FIX).toJSON()
    process.stderr.write(`${JSON.stringify({ error: facts })}\n`)
  }
  return EXIT.usage
}

function printError(error: unknown, json: boolean, cli: Cli): void {
  if (json) {
    const facts =
      error instanceof MillraceError
        ? error.toJSON()
        : { code: 'MR_CLI_DEFECT', kind: 'internal', message: messageOf(error), retryable: false }
    process.stderr.write(`${JSON.stringify({ error: facts })}\n`)
  } else {
    const isInput = error instanceof MillraceError && error.code === 'MR_API_INPUT'
    // Whoever types commands does not know the API's operations: for them the field and what is wrong with it.
    const message = isInput ? messageOf(error).replace(/^The input of \S+ is not valid: /, '') : messageOf(error)
    process.stderr.write(`${cli.style('red', 'error:')} ${readable(message)}\n`)
    const fix =
      error instanceof MillraceError
        ? isInput
          ? HELP_FIX
          : error.fix
        : 'Run it again with MILLRACE_DEBUG=1 and report what it prints: this is a defect of Millrace.'
    if (fix !== undefined) process.stderr.write(`${cli.style('cyan', 'fix:')} ${fix}\n`)
  }
  if (cli.env['MILLRACE_DEBUG']) process.stderr.write(`${error instanceof Error ? error.stack : String(error)}\n`)
}

const WORD_MAX = 500

/** A value that is as long as a page, given by mistake, would hide what is wrong with it. */
const readable = (message: string): string =>
  message.replace(new RegExp(`\\S{${WORD_MAX},}`, 'g'), (word) => `${word.slice(0, 80)}… (${word.length} characters)`)

const EXAMPLES = `
Examples:
  millrace init                 make a project that runs as it is
  millrace up                   start: train, prove, release, serve, log
  millrace train late-flight    train now and follow it to its release
  millrace predict late-flight --row '{"age": 3}'
  millrace status               everything at a glance

Exit codes: 0 done, 1 failed, 2 usage or configuration, 3 not running, 4 not found, 5 conflict,
6 unauthorized, 7 try again later, 8 waits for a person, 70 a defect, 130 interrupted.
`
