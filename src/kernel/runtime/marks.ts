/**
 * Marks in the environment of every process that Millrace starts. Children inherit them, also those that leave their
 * process group, so that the processes of a data directory, or of one step, can be found without any record.
 */

/** `instanceOf(dataDir)` */
export const INSTANCE_MARK = 'MILLRACE_INSTANCE'
/** `<instance>.<id of the process record>` */
export const PROCESS_MARK = 'MILLRACE_PROCESS'
/** The token of the process record. */
export const PROCESS_TOKEN_MARK = 'MILLRACE_PROCESS_TOKEN'
/** The token of a step's attempt. */
export const ATTEMPT_MARK = 'MILLRACE_ATTEMPT_TOKEN'

export interface Mark {
  name: string
  value: string
}

/** Of one process with a record. */
export function processMark(instance: string, id: string): Mark {
  return { name: PROCESS_MARK, value: `${instance}.${id}` }
}
