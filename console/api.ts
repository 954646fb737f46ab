/** Requests to the hub. What it refuses comes as a Problem, with a remedy. */
import type { Problem as Refusal } from '../hub/console/schemas.ts'

export class Problem extends Error {
  readonly status: number
  readonly code: string
  readonly remedy: string
  constructor(status: number, { code, message, remedy }: Refusal) {
    super(message)
    this.status = status
    this.code = code
    this.remedy = remedy
  }
}

const onLoggedOut = new Set<() => void>()
export function hearLoggedOut(heard: () => void): () => void {
  onLoggedOut.add(heard)
  return () => onLoggedOut.delete(heard)
}
export function tellLoggedOut(): void {
  for (const heard of onLoggedOut) heard()
}

/** Rejects with a Problem. */
export async function ask<T>(
  path: string,
  p: { method?: string; body?: unknown; signal?: AbortSignal } = {},
): Promise<T> {
  const { method = 'GET', body, signal } = p
  const headers: Record<string, string> = { accept: 'application/json', 'x-meshlet-console': '1' }
  if (body !== undefined) headers['content-type'] = 'application/json'
  let response: Response
  try {
    response = await fetch(`/api/v1${path}`, {
      method,
      headers,
      credentials: 'same-origin',
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      ...(signal ? { signal } : {}),
    })
  } catch (err) {
    if (signal?.aborted === true) throw err
    throw new Problem(0, {
      code: 'OFFLINE',
      message: 'The hub does not answer.',
      remedy:
        'Look whether it runs (systemctl status meshlet-hub) and whether this machine reaches it; the page tries again by itself.',
    })
  }
  const said = (await response.json().catch(() => undefined)) as T | Refusal | undefined
  if (response.ok && said !== undefined) return said as T
  const problem = new Problem(response.status, readRefusal(said, response.status))
  if (problem.code === 'MESH_CONSOLE_LOGIN' && path !== '/login') tellLoggedOut()
  throw problem
}

function readRefusal(said: unknown, status: number): Refusal {
  if (typeof said === 'object' && said !== null && 'code' in said) return said as Refusal
  return {
    code: `HTTP ${status}`,
    message: `Something between here and the hub answered with status ${status}.`,
    remedy: 'If a proxy stands before the hub, look at its log.',
  }
}

export const post = <T>(path: string, body: unknown = {}): Promise<T> => ask<T>(path, { method: 'POST', body })
export const remove = <T>(path: string): Promise<T> => ask<T>(path, { method: 'DELETE' })
