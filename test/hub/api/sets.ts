/** Small resource sets for the tests of the hub's ADS. */
import {
  CLUSTER,
  hashContent,
  ENDPOINT,
  LISTENER,
  makeResourceSet,
  ROUTE,
  type HubResource,
  type ResourceSet,
} from '../../../hub/source/resources.ts'

export const SHORT = { c: CLUSTER, e: ENDPOINT, l: LISTENER, r: ROUTE, x: 'type.googleapis.com/example.Other' } as const

/** `set('c:a=1 e:a=1 l:in=3')`: type, name and content. A cluster's endpoints have its name. */
export function set(text: string): ResourceSet {
  return makeResourceSet(
    text
      .split(' ')
      .filter(Boolean)
      .map((word): HubResource => {
        const [, kind, name, content] = /^(\w):([^=]+)=(.*)$/.exec(word)! as unknown as [
          string,
          keyof typeof SHORT,
          string,
          string,
        ]
        return {
          name,
          typeUrl: SHORT[kind],
          version: hashContent(content),
          value: Buffer.from(content),
          ...(kind === 'c' ? { endpoints: name } : {}),
        }
      }),
  )
}
export const version = (content: string): string => hashContent(content)

/** `c +a,b -z` */
export const shown = (r: {
  readonly typeUrl: string
  readonly resources: readonly HubResource[]
  readonly removed?: readonly string[]
}): string => {
  const kind = Object.entries(SHORT).find(([, url]) => url === r.typeUrl)?.[0] ?? r.typeUrl
  return [
    kind,
    r.resources.length ? `+${r.resources.map((one) => one.name).join(',')}` : '',
    r.removed?.length ? `-${r.removed.join(',')}` : '',
  ]
    .filter(Boolean)
    .join(' ')
}
