import { isLoopbackAddress } from '../kernel/loopback.ts'

/** Whether only this machine can reach what listens there. A name other than localhost may lead anywhere. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || isLoopbackAddress(host)
}
