import { callGateway, type GatewayAddress } from './gateway-http.ts'

/** The truth about one row of one prediction. May come twice and out of order: the latest time counts. */
export interface Label {
  /** The prediction's id, from the header `millrace-prediction-id`. */
  id: string
  label: number | string | boolean
  /** Row within the request, from 0. */
  row?: number
  /** ISO 8601; now (calendar) unless given. */
  at?: string
}

/**
 * Sends labels; all are accepted or none. @returns how many; they are on disk then
 * @throws GatewayError, CallTimedOutError
 */
export async function sendLabels(gateway: GatewayAddress, labels: Label[]): Promise<number> {
  const { body } = await callGateway(gateway, '/feedback', { labels })
  return (body as { accepted: number }).accepted
}
