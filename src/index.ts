/**
 * What `import … from 'millrace'` gives: helpers for millrace.config.ts. It stays free of dependencies, since it is
 * loaded each time a configuration is read.
 */
export { defineModel, defineProject } from './config/define.ts'
export type {
  AlarmTriggerInput,
  AlertsInput,
  AnyMonitorInput,
  BinaryMetric,
  CanaryInput,
  ColumnMonitorInput,
  CronTriggerInput,
  Duration,
  EnvironmentInput,
  GateInput,
  LevelDetails,
  LevelInput,
  LogInput,
  ModelInput,
  MonitorName,
  MonitorsInput,
  NewDataTriggerInput,
  ProjectInput,
  RegressionMetric,
  ReleaseInput,
  RetirementInput,
  SampleMonitorInput,
  ServiceLevelsInput,
  ServingInput,
  ShadowInput,
  Size,
  SourceInput,
  StepInput,
  TimedLevelInput,
  TriggerInput,
  WebhookInput,
  WindowMonitorInput,
} from './config/input.ts'
