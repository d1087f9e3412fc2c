import type { GateConfig } from '../../config/project.ts'
import type { BcaInterval } from '../../kernel/stats/bootstrap.ts'
import { spreadAroundImprovement } from '../../kernel/stats/improvement.ts'
import { normalQuantile } from '../../kernel/stats/normal.ts'
import type { ChampionFigures, EvaluationFigures } from './evaluation.ts'
import { verdictOf } from './gate.ts'
import type { CheckVerdict, GateCheck, GateResult } from './gate.ts'
import { METRIC_NAMES } from './metrics.ts'
import { incompatibilities } from './signature-compatibility.ts'

export type { CheckVerdict, GateCheck, GateResult, Verdict } from './gate.ts'

export interface GateQuestion {
  config: GateConfig
  figures: EvaluationFigures
}

/**
 * Whether a version may be released, by what was measured. The interval checks answer in three ways: the whole
 * interval lies on the good side (`passed`), on the bad side (`failed`), or on both (`inconclusive`, with an estimate
 * of the rows that would decide it). So a version worse than the margin passes with probability `alpha` at most.
 */
export function decideGate({ config, figures }: GateQuestion): GateResult {
  const size = [rowsCheck(config, figures), ...clustersCheck(config, figures)]
  const enough = size.every(({ verdict }) => verdict === 'passed')
  const measured = [
    ...config.thresholds.map((threshold) => thresholdCheck(threshold, figures)),
    constantCheck(figures),
    ...(figures.champion ? [championCheck(config, figures.champion)] : []),
  ]
  const checks = [
    metricsCheck(figures),
    ...size,
    ...(enough ? measured : measured.map(withheld)),
    ...signatureCheck(figures),
    ...aucCheck(figures.champion),
    stabilityCheck(config, figures),
  ]
  const verdict = verdictOf(checks)
  const provenBetter = enough && figures.champion !== null && isProvenBetter(config, figures.champion.gain)
  return { verdict, why: summary(verdict, checks), checks, provenBetter }
}

function metricsCheck({ metrics, meanLoss }: EvaluationFigures): GateCheck {
  const bad = Object.entries({ ...metrics.values, meanLoss }).filter(
    ([, value]) => value !== null && !Number.isFinite(value),
  )
  const notDefined = Object.entries(metrics.undefinedBecause)
  if (bad.length > 0) {
    const list = bad.map(([name, value]) => `${name} is ${value}`).join(', ')
    return check('metrics', 'error', `Not every metric is a number: ${list}.`, {})
  }
  const aside = notDefined.map(([name, because]) => `; ${name} is not defined: ${because}`).join('')
  return check('metrics', 'passed', `Every metric is a number${aside}.`, { ...metrics.values, meanLoss })
}

function rowsCheck({ minRows }: GateConfig, { rows }: EvaluationFigures): GateCheck {
  if (rows >= minRows) return check('rows', 'passed', `${rows} rows, at least ${minRows}.`, { rows, minRows })
  const why = `${rows} rows are too few to judge by: ${minRows - rows} more would reach gate.minRows, ${minRows}.`
  return check('rows', 'inconclusive', why, { rows, minRows })
}

function clustersCheck({ cluster, minClusters }: GateConfig, { clusters }: EvaluationFigures): GateCheck[] {
  if (cluster === null || clusters === null) return []
  const enough = clusters >= minClusters
  const why = enough
    ? `${clusters} different values of '${cluster}', at least ${minClusters}.`
    : `${clusters} different values of '${cluster}' are too few to resample: ` +
      `${minClusters - clusters} more would reach gate.minClusters, ${minClusters}.`
  return [check('clusters', enough ? 'passed' : 'inconclusive', why, { clusters, minClusters })]
}

/** Too few rows can't show that a check holds, nor that it does not. */
function withheld(judged: GateCheck): GateCheck {
  if (judged.verdict === 'error') return judged
  return { ...judged, verdict: 'inconclusive', why: `Too few rows to judge. ${judged.why}` }
}

/** Compares the measured figure itself, not an interval: a threshold is what a person drew. */
function thresholdCheck(threshold: GateConfig['thresholds'][number], figures: EvaluationFigures): GateCheck {
  const { metric, min, max } = threshold
  const name = `threshold:${metric}`
  const value = figures.metrics.values[metric]
  if (value === undefined) {
    const known = METRIC_NAMES[figures.task].join(', ')
    return check(name, 'error', `There is no metric '${metric}' for a ${figures.task} task; there are: ${known}.`, {})
  }
  if (value === null) {
    const because = figures.metrics.undefinedBecause[metric] ?? 'no reason was recorded'
    const why = `${metric} is not defined on this holdout: ${because}. Rows on which it is defined would decide it.`
    return check(name, 'inconclusive', why, { [metric]: null, min, max })
  }
  const numbers = { [metric]: value, min, max }
  if (!Number.isFinite(value)) return check(name, 'error', `${metric} is ${value}, which no bound can hold.`, numbers)
  if (min !== null && value < min) return check(name, 'failed', `${metric} ${show(value)} is below ${min}.`, numbers)
  if (max !== null && value > max) return check(name, 'failed', `${metric} ${show(value)} is above ${max}.`, numbers)
  const bounds = [min === null ? '' : `at least ${min}`, max === null ? '' : `at most ${max}`].filter(Boolean)
  return check(name, 'passed', `${metric} ${show(value)}, ${bounds.join(' and ')}.`, numbers)
}

function constantCheck({ constant, lossName, meanLoss }: EvaluationFigures): GateCheck {
  const { gain } = constant
  const opponent = `the constant ${show(constant.value)} (${constant.kind} of the holdout's labels)`
  const told = `${lossName} ${show(meanLoss)} against ${show(constant.meanLoss)} of ${opponent}: ${interval('gain', gain)}`
  const words = { passed: 'better', failed: 'not better', inconclusive: 'not proven better' }
  const verdict = sideOf(gain, 0)
  const why = `${capital(words[verdict])} than a constant: ${told}${verdict === 'inconclusive' ? decider(gain, 0) : ''}.`
  return check('beats-constant', verdict, why, {
    constant: constant.value,
    meanLoss,
    constantMeanLoss: constant.meanLoss,
    ...intervalFigures(gain),
    required: 0,
    rowsToDecide: verdict === 'inconclusive' ? rowsToDecide(gain, 0) : null,
  })
}

function championCheck(config: GateConfig, champion: ChampionFigures): GateCheck {
  const { gain } = champion
  const required = config.comparison === 'superiority' ? config.margin : 0 - config.margin
  const verdict = sideOf(gain, required, config.comparison === 'nonInferiority')
  const better = isProvenBetter(config, gain)
  const told = `${interval(`${config.loss} gain on ${champion.version}`, gain)}`
  const why = `${capital(championWords(config, verdict, better))}: ${told}${verdict === 'inconclusive' ? decider(gain, required) : ''}.`
  return check('champion', verdict, why, {
    champion: champion.version,
    comparison: config.comparison,
    margin: config.margin,
    championMeanLoss: champion.meanLoss,
    ...intervalFigures(gain),
    required,
    provenBetter: better,
    rowsToDecide: verdict === 'inconclusive' ? rowsToDecide(gain, required) : null,
  })
}

function championWords({ comparison, margin }: GateConfig, verdict: IntervalVerdict, better: boolean): string {
  const by = margin === 0 ? '' : ` by more than ${margin}`
  if (comparison === 'superiority') {
    if (verdict === 'passed') return `proven better${by}`
    return verdict === 'failed' ? `proven not better${by}` : `not proven better${by}`
  }
  if (verdict === 'passed') return better ? 'proven better' : `proven not worse${by}, though not proven better`
  return verdict === 'failed' ? `proven worse${by}` : `not proven to be within the margin of ${margin}`
}

function isProvenBetter({ comparison, margin }: GateConfig, gain: BcaInterval): boolean {
  return gain.lower !== null && gain.lower > (comparison === 'superiority' ? Math.max(margin, 0) : 0)
}

type IntervalVerdict = 'passed' | 'failed' | 'inconclusive'

/** @param boundIncluded - a gain of exactly `required` is good enough: worse by the margin, and no more, is allowed */
function sideOf({ lower, upper }: BcaInterval, required: number, boundIncluded = false): IntervalVerdict {
  if (lower === null || upper === null) return 'inconclusive'
  if (lower > required || (boundIncluded && lower === required)) return 'passed'
  return upper < required || (!boundIncluded && upper === required) ? 'failed' : 'inconclusive'
}

/** Chance that so many rows decide it, if the true gain is the one that was seen. */
const POWER = 0.8

/**
 * Rows at which the interval would clear `required` with 80% power, were the gain the one that was measured:
 * n · ((z₁₋α + z_power) · s / |gain − required|)², s being the standard error at n rows.
 * @returns null where the gain is the requirement itself, or there is no spread to go by
 */
export function rowsToDecide({ mean, standardError, alpha, rows }: BcaInterval, required: number): number | null {
  const distance = Math.abs(mean - required)
  if (distance === 0 || standardError === 0) return null
  const factor = ((normalQuantile(1 - alpha) + normalQuantile(POWER)) * standardError) / distance
  const needed = Math.ceil(rows * factor ** 2)
  return Number.isSafeInteger(needed) ? Math.max(needed, rows + 1) : null
}

function decider(gain: BcaInterval, required: number): string {
  if (gain.lower === null) return '; the interval needs at least two rows or clusters that differ'
  const needed = rowsToDecide(gain, required)
  if (needed === null || needed > 1e9) return '; no number of rows within reach would decide it'
  const unit = gain.clusters === null ? '' : ` (${Math.ceil((needed / gain.rows) * gain.clusters)} clusters)`
  const way = gain.mean > required ? 'prove it' : 'disprove it'
  return `; about ${needed} rows${unit} would ${way} if the gain stays the same`
}

function signatureCheck({ signature, champion }: EvaluationFigures): GateCheck[] {
  if (champion === null) return []
  const found = incompatibilities(signature, champion.signature)
  const version = champion.version
  if (found.length === 0) return [check('signature', 'passed', `Callers of ${version} can be served as they are.`, {})]
  const why = `Callers of ${version} would break: ${found.join('; ')}. Keep its inputs and outputs, or use another model name.`
  return [check('signature', 'failed', why, { differences: found.join('; ') })]
}

/** Doubted only where DeLong says the contrary with this much certainty: it takes rows as independent. */
const AUC_DOUBT = 0.01

function aucCheck(champion: ChampionFigures | null): GateCheck[] {
  if (!champion?.aucDifference) return []
  const { first, second, difference, standardError, pValue } = champion.aucDifference
  const contrary = pValue < AUC_DOUBT && difference * champion.gain.mean < 0
  const told = `AUC ${show(first)} against ${show(second)} (DeLong: p = ${show(pValue)})`
  const why = contrary ? `${told} points the other way than the loss.` : `${told} does not contradict the loss.`
  return [
    check('auc-difference', contrary ? 'warning' : 'passed', why, {
      auc: first,
      championAuc: second,
      difference,
      standardError,
      pValue,
    }),
  ]
}

/** Two versions tell nothing of a spread. */
const STABILITY_MIN = 3

/**
 * The last versions on the same rows. With so few of them, only what is proven counts: too wide a spread fails where
 * chance is excluded, is in doubt where the estimate alone is too wide, and passes else.
 */
function stabilityCheck({ stability: { maxSpread }, alpha }: GateConfig, figures: EvaluationFigures): GateCheck {
  const { versions = [], leftOut = [], rows = 0, isSample = false } = figures.stability ?? {}
  const aside = leftOut.map(({ version, why }) => `; ${version} could not be measured: ${why}`).join('')
  if (versions.length < STABILITY_MIN) {
    const why = `${versions.length - 1} earlier versions that passed can be measured: from ${STABILITY_MIN - 1} on their spread is judged${aside}.`
    return check('stability', 'skipped', why, { versions: versions.length })
  }
  const { deviation, lower, upper, plain } = spreadAroundImprovement(
    versions.map(({ meanLoss }) => meanLoss),
    alpha,
  )
  const on = `${isSample ? 'a sample of ' : ''}${rows} rows`
  const of = `${figures.lossName} of ${versions[0]!.version} … ${versions.at(-1)!.version} on ${on}`
  const told = `${of} spreads by ${show(deviation!)} (${show(lower!)} … ${show(upper!)}, each bound at ${show(100 * alpha)}%) around what improves`
  const numbers = {
    versions: versions.length,
    rows,
    spread: deviation,
    lower,
    upper,
    standardDeviation: plain,
    maxSpread,
  }
  if (maxSpread === null)
    return check(
      'stability',
      'skipped',
      `Told, not judged, as gate.stability.maxSpread is not set: ${told}${aside}.`,
      numbers,
    )
  const compared = `${told}; gate.stability.maxSpread is ${show(maxSpread)}${aside}.`
  if (lower! > maxSpread) return check('stability', 'failed', `The last versions are not alike: ${compared}`, numbers)
  if (deviation! > maxSpread)
    return check(
      'stability',
      'inconclusive',
      `The last versions may not be alike; another one decides it: ${compared}`,
      numbers,
    )
  return check('stability', 'passed', `The last versions are alike: ${compared}`, numbers)
}

function summary(verdict: GateResult['verdict'], checks: readonly GateCheck[]): string {
  const decisive = checks.filter((candidate) => candidate.verdict === verdict)
  if (verdict !== 'passed') return decisive.map(({ why }) => why).join(' ')
  const last = checks.find(({ name }) => name === 'champion') ?? checks.find(({ name }) => name === 'beats-constant')
  return last?.why ?? 'Every check passed.'
}

function check(name: string, verdict: CheckVerdict, why: string, figures: GateCheck['figures']): GateCheck {
  return { name, verdict, why, figures: finiteOnly(figures) }
}

/** JSON has no NaN and no infinity. */
function finiteOnly(figures: GateCheck['figures']): GateCheck['figures'] {
  const clean = Object.entries(figures).map(([name, value]) => [
    name,
    typeof value === 'number' && !Number.isFinite(value) ? null : value,
  ])
  return Object.fromEntries(clean) as GateCheck['figures']
}

function intervalFigures({ mean, lower, upper, alpha, standardError, rows, clusters, resamples }: BcaInterval) {
  return { gain: mean, lower, upper, alpha, standardError, rows, clusters, resamples }
}

function interval(name: string, { mean, lower, upper, alpha, rows, clusters }: BcaInterval): string {
  const bounds = lower === null || upper === null ? 'no interval' : `${signed(lower)} … ${signed(upper)}`
  const unit = clusters === null ? `${rows} rows` : `${rows} rows in ${clusters} clusters`
  return `${name} ${signed(mean)} (${bounds}, each bound at ${show(100 * alpha)}%; ${unit})`
}

/** Four significant digits, without an exponent where it can be. */
function show(value: number): string {
  return Number.isFinite(value) ? String(Number(value.toPrecision(4))) : String(value)
}

function signed(value: number): string {
  return value > 0 ? `+${show(value)}` : show(value)
}

function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1)
}
