/** A hub with its console, asked over real sockets as browsers and others ask it. */
import http from 'node:http'
import { addLoginLink } from '../../../hub/console/logins.ts'
import type { Grant } from '../../../hub/registry/console-sessions.ts'
import { testHub, type TestHub } from '../start-hub.ts'
import type { HubWorld } from '../../../hub/hub.ts'

type Finally = { after(fn: () => void | Promise<void>): void }
export type Said = {
  readonly status: number
  readonly headers: http.IncomingHttpHeaders
  readonly text: string
  readonly body: Record<string, unknown>
}
export type Asking = {
  readonly method?: string
  readonly path: string
  readonly body?: unknown
  readonly cookie?: string | undefined
  readonly headers?: http.OutgoingHttpHeaders
  /** Sent as they are, instead of what a page of the console sends. */
  readonly only?: http.OutgoingHttpHeaders
}

export const CONSOLE = 'console: {listen: "127.0.0.1:0"}'
export const ADMIN: readonly Grant[] = [{ namespace: '*', role: 'admin' }]
export const PAGE = { 'x-meshlet-console': '1' }

export type ConsoleRig = TestHub & {
  ask(asking: Asking): Promise<Said>
  /** @returns the cookie of a session */
  login(grants?: readonly Grant[], operator?: string): Promise<string>
  link(grants?: readonly Grant[], operator?: string): Promise<string>
}

export async function consoleRig(t: Finally, settings = CONSOLE, world: Partial<HubWorld> = {}): Promise<ConsoleRig> {
  const h = await testHub(t, settings, world)
  const link = (grants = ADMIN, operator = 'operator:tester'): Promise<string> =>
    addLoginLink(h.hub.registry.sessions, {
      operator,
      grants,
      ttlMs: 600_000,
      nowMs: world.clock?.wallMs() ?? Date.now(),
    })
  const ask = (asking: Asking): Promise<Said> => request(h.hub.consolePort!, asking)
  return {
    ...h,
    ask,
    link,
    async login(grants, operator) {
      const said = await ask({ method: 'POST', path: '/api/v1/login', body: { token: await link(grants, operator) } })
      return readCookie(said)
    },
  }
}

/** `name=value` of the session's cookie. */
export function readCookie({ headers }: Said): string {
  const found = headers['set-cookie']?.find((line) => line.startsWith('__Host-meshlet='))
  return found?.split(';')[0] ?? ''
}

export function request(port: number, { method = 'GET', path, body, cookie, headers, only }: Asking): Promise<Said> {
  const text = body === undefined ? undefined : typeof body === 'string' ? body : JSON.stringify(body)
  const sent = only ?? {
    ...PAGE,
    ...(text === undefined ? {} : { 'content-type': 'application/json' }),
    ...(cookie === undefined ? {} : { cookie }),
    ...headers,
  }
  return new Promise((resolve, reject) => {
    const asked = http.request({ host: '127.0.0.1', port, method, path, headers: sent, agent: false }, (response) => {
      let got = ''
      response.on('data', (part: Buffer) => {
        got += part.toString()
      })
      response.on('end', () => {
        const isJson = response.headers['content-type']?.includes('json') === true
        resolve({
          status: response.statusCode!,
          headers: response.headers,
          text: got,
          body: isJson ? (JSON.parse(got) as Record<string, unknown>) : {},
        })
      })
    })
    asked.on('error', reject)
    asked.end(text)
  })
}
