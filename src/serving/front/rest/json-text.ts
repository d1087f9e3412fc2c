import type { Answer } from '../answer.ts'

/** 200 with JSON that is text already. */
export function jsonText(text: string): Answer {
  return { status: 200, headers: ['Content-Type', 'application/json'], body: Buffer.from(text) }
}
