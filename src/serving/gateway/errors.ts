import { MillraceError } from '../../kernel/errors.ts'

/** The data port can't be opened because another program listens there. */
export class GatewayPortTakenError extends MillraceError {
  constructor(host: string, port: number, cause?: unknown) {
    super({
      code: 'MR_GATEWAY_PORT_TAKEN',
      kind: 'conflict',
      message: `The gateway can't listen on ${host}:${port}: another program holds that port.`,
      fix: `Stop that program ('ss -ltnp | grep :${port}' names it), or set another 'gateway.port' in the configuration.`,
      cause,
    })
  }
}

/** The data port can't be opened for any other reason: no such address, no permission. */
export class GatewayListenError extends MillraceError {
  constructor(where: string, cause: NodeJS.ErrnoException) {
    super({
      code: 'MR_GATEWAY_LISTEN',
      kind: 'invalid',
      message: `The gateway can't listen on ${where}: ${cause.message}.`,
      fix: `Check 'gateway.host' and 'gateway.port' in the configuration.`,
      cause,
    })
  }
}

/** A routing snapshot, from the control plane or from disk, that doesn't hold together. The gateway keeps the one it has. */
export class RoutingSnapshotError extends MillraceError {
  constructor(source: string, why: string) {
    super({
      code: 'MR_ROUTING_SNAPSHOT',
      kind: 'internal',
      message: `The routing snapshot from ${source} can't be used: ${why}.`,
      fix: 'The gateway serves on from the snapshot it holds; the control plane sends a new one when it connects.',
    })
  }
}

/** The options file that the supervisor passes is missing or incomplete. */
export class GatewayOptionsError extends MillraceError {
  constructor(path: string, why: string, cause?: unknown) {
    super({
      code: 'MR_GATEWAY_OPTIONS',
      kind: 'invalid',
      message: `The gateway's options in ${path} can't be used: ${why}.`,
      fix: `The gateway is started by 'millrace up', which writes that file.`,
      cause,
    })
  }
}

/** The control plane answered a gateway's message with something else than 200. */
export class ControlLinkError extends MillraceError {
  constructor(message: string, cause?: unknown) {
    super({
      code: 'MR_GATEWAY_CONTROL_LINK',
      kind: 'unavailable',
      message,
      fix: 'The gateway serves on and tries again; see the log of the control plane.',
      retryable: true,
      cause,
    })
  }
}

/** Why one exchange with a replica gave no answer. */
export type UpstreamFault =
  | 'refused' // no connection could be made: nothing was sent
  | 'died' // the connection ended before the answer was complete
  | 'busy' // the replica's accept queue is full: nothing was sent
  | 'garbled' // it answered something that isn't HTTP, or more than the limit
  | 'aborted' // we gave up

export class UpstreamError extends MillraceError {
  readonly fault: UpstreamFault

  constructor(fault: UpstreamFault, message: string, cause?: unknown) {
    super({
      code: 'MR_GATEWAY_UPSTREAM',
      kind: 'unavailable',
      message,
      fix: 'The gateway tries another replica; see the log of the replica.',
      retryable: true,
      cause,
    })
    this.fault = fault
  }
}
