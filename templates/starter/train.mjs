// Trains a logistic regression in plain JavaScript. Millrace runs it; `node train.mjs` by hand works too.
import { globSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import {
  column,
  constant,
  floatAttribute,
  floatsAttribute,
  integerAttribute,
  model,
  node,
  result,
  stringsAttribute,
} from './onnx.mjs'

const LABEL = 'churned'
const NUMBERS = ['tenure_months', 'monthly_fee', 'support_calls', 'days_since_login', 'discount']
const TEXT = 'plan'

// What Millrace hands over. The values behind ?? are for running by hand.
const env = process.env
const customers = env.MILLRACE_INPUT_CUSTOMERS ?? 'data/customers/*.csv'
const modelDir = env.MILLRACE_MODEL_DIR ?? 'out'
const outputDir = env.MILLRACE_OUTPUT_DIR ?? 'out'
const given = env.MILLRACE_PARAMS ? JSON.parse(readFileSync(env.MILLRACE_PARAMS, 'utf8')) : {}
const params = { rounds: 300, rate: 0.5, l2: 0.001, ...given }

const rows = globSync(customers).sort().flatMap(readCsv)
if (rows.length === 0) throw new Error(`No rows in ${customers}`)

const scales = NUMBERS.map((name) => scaleOf(rows.map((row) => Number(row[name]))))
const plans = [...new Set(rows.map((row) => row[TEXT]))].toSorted((a, b) => (a < b ? -1 : 1))
const features = rows.map((row) => [
  ...NUMBERS.map((name, i) => (Number(row[name]) - scales[i].mean) / scales[i].deviation),
  ...plans.map((plan) => (row[TEXT] === plan ? 1 : 0)),
])
const labels = rows.map((row) => Number(row[LABEL]))
if (features.flat().some(Number.isNaN) || labels.some(Number.isNaN))
  throw new Error(`A value in ${customers} is not a number`)

const { weights, bias } = fit(features, labels)

mkdirSync(modelDir, { recursive: true })
writeFileSync(join(modelDir, 'model.onnx'), toOnnx(weights, bias))

// Anything may go into metrics.json; Millrace keeps it and judges by its own evaluation on the holdout.
mkdirSync(outputDir, { recursive: true })
const metrics = { rows: rows.length, train: { logLoss: logLoss(features, labels, weights, bias) } }
writeFileSync(join(outputDir, 'metrics.json'), JSON.stringify(metrics, null, 2))
console.log(`trained on ${rows.length} rows, log loss ${metrics.train.logLoss.toFixed(4)}`)

/** Gradient descent on the mean log loss with L2 regularisation. */
function fit(features, labels) {
  const weights = features[0].map(() => 0)
  let bias = 0
  for (let round = 1; round <= params.rounds; round++) {
    const gradient = weights.map((weight) => params.l2 * weight)
    let biasGradient = 0
    features.forEach((row, i) => {
      const error = (probability(row, weights, bias) - labels[i]) / features.length
      row.forEach((x, j) => (gradient[j] += error * x))
      biasGradient += error
    })
    gradient.forEach((g, j) => (weights[j] -= params.rate * g))
    bias -= params.rate * biasGradient
    // Optional: Millrace shows such lines as a progress bar.
    if (round % 25 === 0) console.log(`millrace:progress ${(round / params.rounds).toFixed(2)} "round ${round}"`)
  }
  return { weights, bias }
}

function probability(row, weights, bias) {
  return 1 / (1 + Math.exp(-row.reduce((sum, x, j) => sum + x * weights[j], bias)))
}

function logLoss(features, labels, weights, bias) {
  const losses = features.map((row, i) => {
    const p = probability(row, weights, bias)
    return -Math.log(labels[i] === 1 ? p : 1 - p)
  })
  return losses.reduce((sum, loss) => sum + loss, 0) / losses.length
}

function scaleOf(values) {
  const mean = values.reduce((sum, x) => sum + x, 0) / values.length
  const variance = values.reduce((sum, x) => sum + (x - mean) ** 2, 0) / values.length
  return { mean, deviation: Math.sqrt(variance) || 1 } // a column that never changes is not scaled
}

/** The same computation as a graph: standardise, weigh, add the plan's weight, squash. One input per column. */
function toOnnx(weights, bias) {
  const size = NUMBERS.length
  const planWeights = [
    stringsAttribute('keys_strings', plans),
    floatsAttribute('values_floats', weights.slice(size)),
    floatAttribute('default_float', 0),
  ]
  return model({
    name: 'churn',
    inputs: [...NUMBERS.map((name) => column(name, 'number')), column(TEXT, 'text')],
    constants: [
      constant(
        'mean',
        [1, size],
        scales.map((scale) => scale.mean),
      ),
      constant(
        'deviation',
        [1, size],
        scales.map((scale) => scale.deviation),
      ),
      constant('weights', [size, 1], weights.slice(0, size)),
      constant('bias', [1, 1], [bias]),
    ],
    nodes: [
      node('Concat', NUMBERS, 'numbers', { attributes: [integerAttribute('axis', 1)] }),
      node('Sub', ['numbers', 'mean'], 'centred'),
      node('Div', ['centred', 'deviation'], 'standardised'),
      node('MatMul', ['standardised', 'weights'], 'weighed'),
      node('LabelEncoder', [TEXT], 'plan_weight', { domain: 'ai.onnx.ml', attributes: planWeights }),
      node('Add', ['weighed', 'plan_weight'], 'sum'),
      node('Add', ['sum', 'bias'], 'logit'),
      node('Sigmoid', ['logit'], 'probability'),
    ],
    outputs: [result('probability')],
  })
}

/** Enough for files without quotes: a header line, then values between commas. */
function readCsv(path) {
  const [header, ...lines] = readFileSync(path, 'utf8').trim().split(/\r?\n/)
  const names = header.split(',')
  return lines.map((line) => Object.fromEntries(line.split(',').map((value, i) => [names[i], value])))
}
