/** Addresses of the page, without a load for each. */
import { useEffect, useState } from 'preact/hooks'

const heard = new Set<() => void>()
const tell = (): void => {
  for (const one of heard) one()
}
addEventListener('popstate', tell)

export type Place = { readonly path: readonly string[]; readonly query: URLSearchParams }
const readPlace = (): Place => ({
  path: location.pathname
    .split('/')
    .filter((part) => part !== '')
    .map(decode),
  query: new URLSearchParams(location.search),
})
function decode(part: string): string {
  try {
    return decodeURIComponent(part)
  } catch {
    return part
  }
}

export function goTo(path: string, p: { replace?: boolean } = {}): void {
  if (p.replace === true) history.replaceState(null, '', path)
  else history.pushState(null, '', path)
  tell()
}

export function usePlace(): Place {
  const [place, setPlace] = useState(readPlace)
  useEffect(() => {
    const update = (): void => setPlace(readPlace())
    heard.add(update)
    return () => heard.delete(update)
  }, [])
  return place
}

/** Of the page, and under /api/v1. */
export const toRollout = (id: string): string => `/rollouts/${encodeURIComponent(id)}`
export const toDevice = (name: string): string => `/devices/${encodeURIComponent(name)}`
