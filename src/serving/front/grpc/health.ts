import { status as codes } from '@grpc/grpc-js'
import type { sendUnaryData, ServerUnaryCall, ServerWritableStream, UntypedServiceImplementation } from '@grpc/grpc-js'
import { ProtocolError } from '../../../kernel/protocol/inference.ts'
import type { DataPlane } from '../data-plane.ts'

interface HealthRequest {
  /** Empty, or `inference.GRPCInferenceService`: the server; else a model's name. */
  service: string
}

type HealthStatus = 'SERVING' | 'NOT_SERVING' | 'SERVICE_UNKNOWN'

const LOOK_EVERY_MS = 500

/** gRPC's health checking protocol, as load balancers and kubelets ask it. @see grpc/doc/health-checking.md */
export function healthService(plane: DataPlane, isDraining: () => boolean): UntypedServiceImplementation {
  const statusOf = ({ service }: HealthRequest): HealthStatus => {
    if (isDraining()) return 'NOT_SERVING'
    try {
      const isServer = service === '' || service === 'inference.GRPCInferenceService'
      const { ready } = isServer ? plane.readiness() : plane.modelReadiness(service, null)
      return ready ? 'SERVING' : 'NOT_SERVING'
    } catch (error) {
      if (error instanceof ProtocolError) return error.status === 404 ? 'SERVICE_UNKNOWN' : 'NOT_SERVING'
      throw error
    }
  }
  return {
    Check(call: ServerUnaryCall<HealthRequest, unknown>, callback: sendUnaryData<unknown>) {
      const status = statusOf(call.request)
      if (status !== 'SERVICE_UNKNOWN') return callback(null, { status })
      callback({ code: codes.NOT_FOUND, details: `There is no '${call.request.service}' here.` })
    },
    Watch(call: ServerWritableStream<HealthRequest, unknown>) {
      let said: HealthStatus | null = null
      const look = (): void => {
        const status = statusOf(call.request)
        if (status !== said) call.write({ status })
        said = status
        // Whoever watches on would keep the server from ending until its time is over.
        if (isDraining()) {
          clearInterval(timer)
          call.end()
        }
      }
      const timer = setInterval(look, LOOK_EVERY_MS)
      timer.unref()
      look()
      call.once('cancelled', () => {
        clearInterval(timer)
        call.end()
      })
      call.once('close', () => clearInterval(timer))
    },
  }
}
