#!/usr/bin/env node
/*
 * The `millrace` command. Checks Node's version before anything is loaded that an older one could not even read.
 */

const NEEDED = [22, 19]

const running = process.versions.node.split('.').map(Number)
const tooOld = running[0]! < NEEDED[0]! || (running[0] === NEEDED[0] && running[1]! < NEEDED[1]!)

if (tooOld) {
  process.stderr.write(
    `error: Millrace needs Node ${NEEDED.join('.')} or newer; this is ${process.versions.node} (${process.execPath}).\n` +
      `fix: Install a newer Node (https://nodejs.org), or put 'npx -p node@24' in front: npx -p node@24 millrace up.\n`,
  )
  process.exitCode = 2
} else {
  const { runCli } = await import('./program.ts')
  process.exitCode = await runCli(process.argv.slice(2))
}

export {}
