import { describe, expect, it } from 'vitest'
import { decideStability, type StabilityView } from './decide-stability.ts'

const runs = (marks: string): StabilityView['runs'] =>
  Array.from(marks, (mark, i) => ({ id: `run-${9 - i}`, isGood: mark === '+', why: 'exit status 1' }))
/** `+` good, `!` could not be measured, `~` not stable; newest first. */
const evaluations = (marks: string): StabilityView['evaluations'] =>
  Array.from(marks, (mark, i) => ({
    version: `m@${9 - i}`,
    isValid: mark !== '!',
    isStable: mark !== '~',
    why: mark === '!' ? 'the holdout is empty' : 'spread 0.1',
  }))
const decide = (runMarks: string, evaluationMarks: string, isFrozen = false) =>
  decideStability({ runs: runs(runMarks), evaluations: evaluations(evaluationMarks), isFrozen })

describe('the stability guard', () => {
  it.each([
    ['', ''],
    ['-', ''],
    ['-++', '+++'],
    ['+-+', '!++'],
    ['++--', '+++'],
    ['+++', '~++'],
    ['+++', '+~~'],
  ])('does nothing at %j and %j', (runMarks, evaluationMarks) => {
    expect(decide(runMarks, evaluationMarks)).toEqual({ kind: 'none' })
  })

  it.each([
    ['--', '', '2 of the last 2 runs failed; run-9: exit status 1'],
    ['+--', '', '2 of the last 3 runs failed; run-8: exit status 1'],
    ['-+-', '+++', '2 of the last 3 runs failed; run-9: exit status 1'],
    ['+++', '!+!', '2 of the last 3 evaluations could not measure; m@9: the holdout is empty'],
    ['+++', '~~+', 'the last 2 versions failed on stability; m@9: spread 0.1'],
  ])('freezes at %j and %j, and says why and what would unfreeze it', (runMarks, evaluationMarks, why) => {
    const unfreezes = "3 good runs and evaluations in a row, or 'millrace unfreeze'"
    expect(decide(runMarks, evaluationMarks)).toEqual({ kind: 'freeze', why, unfreezes })
  })

  it('unfreezes after three good ones in a row, and not before', () => {
    expect(decide('++-', '+++', true).kind).toBe('none')
    expect(decide('++', '++', true).kind).toBe('none')
    expect(decide('+++', '++!', true).kind).toBe('none')
    expect(decide('+++', '++~', true).kind).toBe('none')
    expect(decide('+++', '+++', true)).toEqual({
      kind: 'unfreeze',
      why: 'the last 3 runs and evaluations are good',
    })
  })

  it('never freezes and unfreezes on the same facts', () => {
    const marks = ['+++', '++-', '+-+', '-++', '+--', '-+-', '--+', '---', '--', '']
    const verdicts = ['+++', '!++', '!!+', '~++', '~~+', '+~~', '~!~', '']
    for (const run of marks)
      for (const verdict of verdicts) {
        const kinds = [decide(run, verdict).kind, decide(run, verdict, true).kind]
        expect(kinds).not.toEqual(['freeze', 'unfreeze'])
      }
  })
})
