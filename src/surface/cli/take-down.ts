import { stopAll } from '../../kernel/runtime/stop-all.ts'
import type { Cli } from './cli.ts'
import { EXIT, type ExitCode } from './exit-codes.ts'

/** Goes by the records in `run/`, so that it works also when the control plane is dead. Stopping nothing is no error. */
export async function takeDown(cli: Cli, timeoutMs: number): Promise<ExitCode> {
  const dataDir = cli.dataDir()
  const hurry = new AbortController()
  const onInterrupt = () => hurry.abort()
  process.once('SIGINT', onInterrupt)
  try {
    const stopped = await stopAll(dataDir, {
      drainMs: timeoutMs,
      graceMs: timeoutMs,
      hurry: hurry.signal,
      onStopped: ({ id, pid }) => cli.note(`stopped ${id} (pid ${pid})`),
    })
    if (cli.json) cli.document({ dataDir, stopped: stopped.map(({ id, role, pid }) => ({ id, kind: role, pid })) })
    else
      cli.line(stopped.length === 0 ? `nothing runs on ${dataDir}` : `${dataDir}: ${stopped.length} processes stopped`)
    return EXIT.ok
  } finally {
    process.off('SIGINT', onInterrupt)
  }
}
