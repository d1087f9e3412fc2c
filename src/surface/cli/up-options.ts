export interface UpOptions {
  detach: boolean
  /** Of the gateway; null: as configured. */
  port: number | null
  /** Control API on TCP; null: unix socket only. */
  apiPort: number | null
  rehearseMs: number | null
  /** How long starting may take. */
  timeoutMs: number
}
