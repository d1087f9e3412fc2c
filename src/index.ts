/**
 * What `import … from 'millrace'` gives: helpers for millrace.config.ts. It stays free of dependencies, since it is
 * loaded each time a configuration is read.
 */
export { defineModel, defineProject } from './config/define.ts'
export type {
  BinaryMetric,
  Duration,
  EnvironmentInput,
  GateInput,
  LogInput,
  ModelInput,
  ProjectInput,
  RegressionMetric,
  ReleaseInput,
  ServingInput,
  Size,
  SourceInput,
  StepInput,
  TriggerInput,
} from './config/input.ts'
