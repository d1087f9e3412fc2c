import type { Answer } from './answer.ts'

/** A longer error is none of ours, and is shown from its beginning. */
const READ_BYTES_MAX = 16_384

/** What an answer says of its error: `{"error": text}`, or, where somebody else's server words it otherwise, its body. */
export function errorTextOf({ body }: Pick<Answer, 'body'>, lettersMax: number): string {
  let text = body.toString('utf8', 0, READ_BYTES_MAX)
  try {
    const { error } = JSON.parse(text) as { error?: unknown }
    if (typeof error === 'string') text = error
  } catch {
    // It is no JSON: as it stands.
  }
  return text.trim().slice(0, lettersMax)
}
