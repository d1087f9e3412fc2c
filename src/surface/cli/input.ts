import { readFile } from 'node:fs/promises'
import { text } from 'node:stream/consumers'

import { messageOf } from '../../kernel/errors.ts'
import { FileUnreadableError, UsageError } from './errors.ts'

/** What a person gave as a value: the text itself, `@file`, or `-` for stdin. */
export async function readInput(value: string): Promise<string> {
  if (value === '-') return text(process.stdin)
  if (!value.startsWith('@')) return value
  const file = value.slice(1)
  try {
    return await readFile(file, 'utf8')
  } catch (error) {
    throw new FileUnreadableError(file, messageOf(error))
  }
}

export function parseJson(option: string, json: string): unknown {
  try {
    return JSON.parse(json) as unknown
  } catch (error) {
    const shown = json.length > 80 ? `${json.slice(0, 80)}…` : json
    throw new UsageError(
      `${option} is not JSON: ${messageOf(error)} (${shown}).`,
      `Quote it for the shell: ${option} '{"age": 3}'.`,
    )
  }
}
