/** One request of a client and its answer, which is bounded in time and size whoever gives it. */
import type http from 'node:http'
import { doNothing, guard } from '../core/defects/guard.ts'
import type { Clock } from '../core/os/clock.ts'

export type Exchanged = { readonly status: number; readonly text: string }
export type ExchangeBounds = { readonly timeoutMs: number; readonly maxBytes: number; readonly clock: Clock }

/** Rejects with what the socket says. */
export function sendRequest(
  request: http.ClientRequest,
  body: string | undefined,
  { timeoutMs, maxBytes, clock }: ExchangeBounds,
): Promise<Exchanged> {
  return new Promise((resolve, reject) => {
    const late = clock.after(timeoutMs, () => request.destroy(new Error(`no answer within ${timeoutMs} ms`)))
    request.on('error', guard('hub', reject, reject))
    request.on(
      'close',
      guard('hub', doNothing, () => late.cancel()),
    )
    request.on(
      'response',
      guard('hub', reject, (response) => {
        const parts: Buffer[] = []
        let bytes = 0
        response.on('error', guard('hub', reject, reject))
        response.on(
          'data',
          guard('hub', reject, (part: Buffer) => {
            bytes += part.length
            if (bytes > maxBytes) request.destroy(new Error(`more than ${maxBytes} bytes`))
            else parts.push(part)
          }),
        )
        response.on(
          'end',
          guard('hub', reject, () =>
            resolve({ status: response.statusCode ?? 0, text: Buffer.concat(parts).toString() }),
          ),
        )
      }),
    )
    request.end(body)
  })
}
