import { stateMachine } from '../../kernel/state-machine.ts'

export type GatherMemberStatus =
  | 'joining' // gets copies of the gather's requests: its answers are counted, and not combined yet
  | 'member' // is asked, and its answers are combined
  | 'left' // newer versions took its place, or the configuration no longer has it
  | 'refused' // it could not join, and stays out until it is released again

export type GatherMemberEvent = 'join' | 'admit' | 'refuse' | 'leave'

/** A version in a gather. It begins in any of the states but `left`. */
export const gatherMemberMachine = stateMachine<GatherMemberStatus, GatherMemberEvent>('gatherMember', {
  joining: { admit: 'member', refuse: 'refused', leave: 'left' },
  member: { leave: 'left' },
  left: { join: 'joining', admit: 'member', refuse: 'refused' },
  refused: { join: 'joining', admit: 'member', refuse: 'refused' },
})

/** One version in one gather, from its first joining on. */
export interface GatherMember {
  endpoint: string
  versionId: string
  model: string
  status: GatherMemberStatus
  why: string
  /** Copies that it has answered since it last began to join, and those of them that failed. */
  requests: number
  failed: number
  beganAtMs: number
  /** When it became a member last; null: it never did. */
  admittedAtMs: number | null
  statusAtMs: number
}

/** It is kept deployed. */
export const isInGather = ({ status }: Pick<GatherMember, 'status'>): boolean =>
  status === 'joining' || status === 'member'
