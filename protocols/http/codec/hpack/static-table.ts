/** The static table of RFC 7541 appendix A: index 1 and up, the value after the first space. */
const ROWS = [
  ':authority',
  ':method GET',
  ':method POST',
  ':path /',
  ':path /index.html',
  ':scheme http',
  ':scheme https',
  ':status 200',
  ':status 204',
  ':status 206',
  ':status 304',
  ':status 400',
  ':status 404',
  ':status 500',
  'accept-charset',
  'accept-encoding gzip, deflate',
  'accept-language',
  'accept-ranges',
  'accept',
  'access-control-allow-origin',
  'age',
  'allow',
  'authorization',
  'cache-control',
  'content-disposition',
  'content-encoding',
  'content-language',
  'content-length',
  'content-location',
  'content-range',
  'content-type',
  'cookie',
  'date',
  'etag',
  'expect',
  'expires',
  'from',
  'host',
  'if-match',
  'if-modified-since',
  'if-none-match',
  'if-range',
  'if-unmodified-since',
  'last-modified',
  'link',
  'location',
  'max-forwards',
  'proxy-authenticate',
  'proxy-authorization',
  'range',
  'referer',
  'refresh',
  'retry-after',
  'server',
  'set-cookie',
  'strict-transport-security',
  'transfer-encoding',
  'user-agent',
  'vary',
  'via',
  'www-authenticate',
]

export const STATIC_FIELDS: readonly { readonly name: string; readonly value: string }[] = ROWS.map((row) => {
  const space = row.indexOf(' ')
  return space < 0 ? { name: row, value: '' } : { name: row.slice(0, space), value: row.slice(space + 1) }
})

export class StaticName {
  /** The first entry with this name. */
  readonly index: number
  /** Indexes by value. */
  readonly values = new Map<string, number>()

  constructor(index: number) {
    this.index = index
  }
}

export const STATIC_NAMES: ReadonlyMap<string, StaticName> = byName()

function byName(): Map<string, StaticName> {
  const names = new Map<string, StaticName>()
  for (const [i, { name, value }] of STATIC_FIELDS.entries()) {
    const known = names.get(name) ?? new StaticName(i + 1)
    names.set(name, known)
    known.values.set(value, i + 1)
  }
  return names
}
