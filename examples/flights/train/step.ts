import { readFileSync } from 'node:fs'

/** What Millrace tells a step, and what a step tells Millrace: environment variables and lines on stdout. */

/** @throws Error naming the variable if it isn't set, as when the file is run by hand */
export function stepVariable(name: string): string {
  const value = process.env[name]
  if (value === undefined || value === '') {
    throw new Error(`${name} is not set. Millrace sets it: run 'millrace train', or set it to try this step by hand.`)
  }
  return value
}

/** Path of a declared input. */
export function stepInput(name: string): string {
  return stepVariable(`MILLRACE_INPUT_${name.toUpperCase()}`)
}

/** Numbers among the pipeline's parameters, over the defaults. Others are left alone: they may be another step's. */
export function stepNumbers<T extends { [Name in keyof T]: number }>(defaults: T): T {
  const path = process.env['MILLRACE_PARAMS']
  const given = path === undefined ? {} : (JSON.parse(readFileSync(path, 'utf8')) as Record<string, unknown>)
  const known = Object.keys(defaults).filter((name) => typeof given[name] === 'number')
  return { ...defaults, ...Object.fromEntries(known.map((name) => [name, given[name]])) }
}

/** Shown by Millrace while the step runs. */
export function progress(share: number, what: string): void {
  console.log(`millrace:progress ${share.toFixed(2)} "${what}"`)
}
