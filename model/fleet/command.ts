/**
 * What an operator may ask of a device over the relay. The hub opens a stream of kind `command`, says one request in
 * JSON and ends its side; the device answers with one message, or resets the stream with the reason.
 */
export const COMMANDS = ['status', 'logs', 'reconnect', 'renew', 'reload', 'bug-report'] as const
export type CommandName = (typeof COMMANDS)[number]

export type CommandRequest = {
  readonly command: CommandName
  /** Of logs: the newest so many. */
  readonly lines: number
  /** Who asks, as the hub knows; the device writes it into its log. */
  readonly operator: string
}
/** A text, or a file. */
export type CommandAnswer =
  | { readonly form: 'text'; readonly text: string }
  /** `content` in base64. */
  | { readonly form: 'file'; readonly name: string; readonly content: string }
/** What stands at the head of a stream of kind `tunnel`. */
export type TunnelRequest = { readonly host: string; readonly port: number; readonly operator: string }

export const COMMAND_LIMITS = {
  requestBytes: 4 * 1024,
  /** Of an answer as it travels, and unpacked. */
  answerBytes: 1024 * 1024,
  unpackedBytes: 4 * 1024 * 1024,
  lines: 1_000,
  operatorChars: 128,
} as const
const DEFAULT_LINES = 100
const MAX_HOST_CHARS = 253

/** Undefined: it is none. */
export function parseCommandRequest(text: string): CommandRequest | undefined {
  const said = parseObject(text)
  const command = COMMANDS.find((name) => name === said?.['command'])
  const operator = said?.['operator']
  const lines = said?.['lines'] ?? DEFAULT_LINES
  if (command === undefined || typeof operator !== 'string' || operator.length > COMMAND_LIMITS.operatorChars)
    return undefined
  if (typeof lines !== 'number' || !Number.isInteger(lines) || lines < 1 || lines > COMMAND_LIMITS.lines)
    return undefined
  return { command, lines, operator }
}

/** Undefined: it is none. */
export function parseTunnelRequest(text: string): TunnelRequest | undefined {
  const { host, port, operator } = parseObject(text) ?? {}
  if (typeof host !== 'string' || host === '' || host.length > MAX_HOST_CHARS) return undefined
  if (typeof port !== 'number' || !Number.isInteger(port) || port < 1 || port > 65_535) return undefined
  if (typeof operator !== 'string' || operator.length > COMMAND_LIMITS.operatorChars) return undefined
  return { host, port, operator }
}

/** Undefined: it is none. */
export function parseCommandAnswer(text: string): CommandAnswer | undefined {
  const said = parseObject(text)
  const { form, content, name } = said ?? {}
  if (form === 'text' && typeof said?.['text'] === 'string') return { form, text: said['text'] }
  if (form === 'file' && typeof name === 'string' && typeof content === 'string') return { form, name, content }
  return undefined
}

function parseObject(text: string): Record<string, unknown> | undefined {
  try {
    const said: unknown = JSON.parse(text)
    return typeof said === 'object' && said !== null ? (said as Record<string, unknown>) : undefined
  } catch {
    return undefined
  }
}
