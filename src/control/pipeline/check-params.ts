import type { ModelConfig } from '../../config/project.ts'
import { MillraceError } from '../../kernel/errors.ts'

type Params = ModelConfig['pipeline']['params']

export class ParamError extends MillraceError {
  constructor(message: string, fix: string) {
    super({ code: 'MR_PARAM', kind: 'invalid', message, fix })
  }
}

/**
 * Whether parameters may be overridden so: by their names, each with a value of the declared kind. A model that declares
 * none leaves it to its script what it takes.
 * @throws ParamError
 */
export function checkParams({ name, pipeline }: Pick<ModelConfig, 'name' | 'pipeline'>, given: Params = {}): void {
  const declared = Object.keys(pipeline.params)
  if (declared.length === 0) return
  for (const [param, value] of Object.entries(given)) {
    if (!declared.includes(param))
      throw new ParamError(
        `Model ${name} has no parameter '${param}'; it has ${declared.join(', ')}.`,
        `Use one of these, or declare '${param}' under params and run 'millrace apply'.`,
      )
    const usual = pipeline.params[param]!
    if (typeof usual !== typeof value)
      throw new ParamError(
        `Parameter '${param}' of ${name} is ${kindOf(usual)} (${JSON.stringify(usual)}), and ${JSON.stringify(value)} is ${kindOf(value)}.`,
        typeof usual === 'string'
          ? `Quote it to make it text: --param '${param}="${value}"'.`
          : `Give ${kindOf(usual)}, or change ${param} under params and run 'millrace apply'.`,
      )
  }
}

function kindOf(value: Params[string]): string {
  if (typeof value === 'number') return 'a number'
  return typeof value === 'string' ? 'text' : 'true or false'
}
