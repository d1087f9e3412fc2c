import type { MonitorConfig } from '../../config/project.ts'
import { unreachable } from '../../kernel/errors.ts'
import { decideDrift, decideMissing, decidePredictionDrift, decideUnseen } from './decide-columns.ts'
import { decidePredictedActual, decideQuality } from './decide-labels.ts'
import { count, duration, percent } from './figures-text.ts'
import { insufficient, type Finding, type WindowFacts } from './finding.ts'

/** One finding for each subject of a monitor; there is always at least one. Pure. */
export function decideMonitor(monitor: MonitorConfig, facts: WindowFacts): Finding[] {
  switch (monitor.name) {
    case 'drift':
      return decideDrift(monitor, facts)
    case 'missing':
      return decideMissing(monitor, facts)
    case 'unseen':
      return decideUnseen(monitor, facts)
    case 'predictionDrift':
      return [decidePredictionDrift(monitor, facts)]
    case 'predictedActual':
      return [decidePredictedActual(monitor, facts)]
    case 'quality':
      return [decideQuality(monitor, facts)]
    case 'traffic':
      return [judgeTraffic(monitor, facts)]
    case 'silence':
      return [judgeSilence(monitor, facts)]
    case 'modelAge':
      return [judgeAge(monitor, facts)]
    default:
      return unreachable(monitor.name)
  }
}

function judgeTraffic({ min, max }: MonitorConfig, facts: WindowFacts): Finding {
  if (facts.logShare === 0) return insufficient('', min ?? max, 'predictions are not logged')
  const requests = Math.round(facts.requests / facts.logShare)
  const low = min !== null && requests < min
  const high = max !== null && requests > max
  const allowed = `${min === null ? 'at most' : max === null ? 'at least' : `${count(min)} to`} ${count(max ?? min ?? 0)}`
  const sampled = facts.logShare < 1 ? `, estimated from the ${percent(facts.logShare)} that is logged` : ''
  const verdict = low || high ? 'bad' : 'ok'
  const why = `${count(requests)} requests in the window, ${allowed} expected${sampled}`
  const figures = { requests, min, max }
  return { subject: '', verdict, why, value: requests, limit: low ? min : (max ?? min), n: facts.requests, figures }
}

function judgeSilence({ limit }: MonitorConfig, facts: WindowFacts): Finding {
  if (facts.logShare === 0) return insufficient('', limit, 'predictions are not logged')
  const lastMs = Math.max(facts.lastRequestMs ?? facts.championSinceMs, facts.championSinceMs)
  const value = Math.max(0, facts.nowMs - lastMs)
  const verdict = value > limit! ? 'bad' : 'ok'
  const last = facts.lastRequestMs === null ? 'there was none yet' : 'the last one'
  const why = `no request for ${duration(value)} (${last}), at most ${duration(limit!)} expected`
  return { subject: '', verdict, why, value, limit, n: facts.requests, figures: { silentMs: value, limitMs: limit } }
}

function judgeAge({ limit }: MonitorConfig, { nowMs, trainedMs, versionId }: WindowFacts): Finding {
  const value = Math.max(0, nowMs - trainedMs)
  const verdict = value > limit! ? 'bad' : 'ok'
  const why = `${versionId} was made ${duration(value)} ago, at most ${duration(limit!)} expected`
  return { subject: '', verdict, why, value, limit, n: 1, figures: { ageMs: value, limitMs: limit } }
}
