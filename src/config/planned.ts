/**
 * Fields and values that the product has in its plan and not in this version. They are refused by name, so that nobody
 * believes a check to be at work that isn't.
 */
const fields = new Set([
  'backfill', // triggers
  'cache',
  'resources',
  'cpu',
  'memory',
  'gpu',
  'check',
  'quarantine',
  'score',
  'search',
  'secrets',
  'runtime', // pipelines
  'slices',
  'anchor',
  'budget', // gate
  'rebuild', // release
  'packaging',
  'image',
  'redact', // prediction log
  'redaction',
  'retention',
  'overlays',
  'environments',
  's3',
  'kubernetes',
  'database',
  'artifacts',
  'lake', // ways to run it
])

const values: Record<string, readonly string[]> = {
  task: ['multiclass', 'classification', 'ranking', 'quantile', 'forecast'],
  strategy: ['join'],
  environment: ['image', 'docker', 'conda'],
}

export const plannedMessage = 'is planned, not available in this version'

export const isPlannedField = (field: string) => fields.has(field)

/** @param field - the last name of the path */
export const isPlannedValue = (field: string, value: unknown) => values[field]?.includes(value as string) ?? false
