import { describe, expect, it } from 'vitest'
import type { ModelConfig } from '../../config/project.ts'
import { MillraceError } from '../../kernel/errors.ts'
import { checkParams } from './check-params.ts'

const model = (params: ModelConfig['pipeline']['params']) =>
  ({ name: 'churn', pipeline: { params } }) as Pick<ModelConfig, 'name' | 'pipeline'>

const declared = model({ rounds: 300, market: 'se', fast: false })

function refusal(given: ModelConfig['pipeline']['params']): MillraceError {
  try {
    checkParams(declared, given)
  } catch (error) {
    if (error instanceof MillraceError) return error
  }
  throw new Error('it was not refused')
}

describe('parameters of a run', () => {
  it('are those that the model declares, each with a value of its kind', () => {
    expect(() => checkParams(declared, { rounds: 0.5, market: '', fast: true })).not.toThrow()
    expect(() => checkParams(declared)).not.toThrow()
  })

  it('are left to the script where the model declares none', () => {
    expect(() => checkParams(model({}), { anything: 'x' })).not.toThrow()
  })

  it('are refused by an unknown name, with the declared ones', () => {
    expect(refusal({ round: 200 })).toMatchObject({
      code: 'MR_PARAM',
      kind: 'invalid',
      message: "Model churn has no parameter 'round'; it has rounds, market, fast.",
      fix: "Use one of these, or declare 'round' under params and run 'millrace apply'.",
    })
    // What every object has is no parameter.
    expect(refusal({ toString: 1 }).message).toContain("no parameter 'toString'")
  })

  it.each<[ModelConfig['pipeline']['params'], string, string]>([
    [{ rounds: 'many' }, `'rounds' of churn is a number (300), and "many" is text`, 'Give a number'],
    [{ market: 7 }, `'market' of churn is text ("se"), and 7 is a number`, `--param 'market="7"'`],
    [{ fast: 1 }, `'fast' of churn is true or false (false), and 1 is a number`, 'Give true or false'],
  ])('are refused by a value of another kind: %j', (given, message, fix) => {
    const error = refusal(given)
    expect(error.message).toContain(message)
    expect(error.fix).toContain(fix)
  })
})
