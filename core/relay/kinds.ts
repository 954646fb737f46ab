/** Of the WebSocket (RFC 6455 §1.9), and where the hub has it unless the agent's address says otherwise. */
export const PROTOCOL = 'meshlet.1'
export const PATH = '/relay'

/** What streams of the relay carry. Numbers stand on the wire and are never given anew. */
export const KINDS = {
  /** One IstioCertificateRequest from the agent, one IstioCertificateResponse to it. */
  certificate: 1,
  /** Delta xDS, as of proto/relay/. */
  configuration: 2,
  /** Bytes of a TCP connection to a port of the device, opened by the hub. */
  tunnel: 3,
  /** What a device says of itself, from the agent (model/fleet/report-message.ts). */
  report: 4,
  /** One command for the device, opened by the hub, and its answer (model/fleet/command.ts). */
  command: 5,
  /** One request by the device's key, as over HTTPS (model/fleet/enrollment.ts), from the agent, and its answer. */
  request: 6,
} as const
export type Kind = keyof typeof KINDS

/** Whose frames go first when several have something to send; who waits is not forgotten (mux.ts). */
export const PRIORITY: Readonly<Record<Kind, number>> = {
  certificate: 0,
  request: 0,
  configuration: 1,
  command: 2,
  tunnel: 3,
  report: 4,
}

const NAMES = new Map(Object.entries(KINDS).map(([name, number]) => [number as number, name as Kind]))
export function findKind(number: number): Kind | undefined {
  return NAMES.get(number)
}
