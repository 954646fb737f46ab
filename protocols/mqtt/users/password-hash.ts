/**
 * Hashes of passwords as their lines have them: mosquitto's `$6$` (salted SHA-512), `$7$` (PBKDF2 with SHA-512) and
 * `$argon2id$`, our `$scrypt$` in the same form (PHC string format), and SCRAM verifiers (RFC 5802 §3). What a line
 * asks for is bounded: a file may come from elsewhere, and everybody who connects makes us pay for it.
 */
import { argon2, createHash, createHmac, pbkdf2, scrypt, timingSafeEqual } from 'node:crypto'
import { promisify } from 'node:util'

export type PasswordHash =
  | { readonly kind: 'sha512'; readonly salt: Buffer; readonly hash: Buffer }
  | { readonly kind: 'pbkdf2-sha512'; readonly iterations: number; readonly salt: Buffer; readonly hash: Buffer }
  | {
      readonly kind: 'argon2id'
      readonly memoryKiB: number
      readonly passes: number
      readonly parallelism: number
      readonly salt: Buffer
      readonly hash: Buffer
    }
  | {
      readonly kind: 'scrypt'
      /** Logarithm of the cost N. */
      readonly logN: number
      readonly blockSize: number
      readonly parallelism: number
      readonly salt: Buffer
      readonly hash: Buffer
    }
  | ScramVerifier
export type ScramVerifier = {
  readonly kind: 'scram-sha-256'
  readonly iterations: number
  readonly salt: Buffer
  readonly storedKey: Buffer
  readonly serverKey: Buffer
}

/** About a second on a small board; mosquitto 2.1 writes 47,104 KiB and one pass. */
export const MAX_HASH_MEMORY_BYTES = 64 * 1024 * 1024
const MAX_PASSES = 10
const MAX_PARALLELISM = 8
/** mosquitto 2.0 writes 101, 2.1 writes 1,000, OWASP wants 210,000. */
const MAX_ITERATIONS = 1_000_000
const MAX_SALT_BYTES = 64
const [MIN_HASH_BYTES, MAX_HASH_BYTES] = [16, 64]
const SHA256_BYTES = 32
const SHA512_BYTES = 64

const argon2Async = promisify(argon2)
const pbkdf2Async = promisify(pbkdf2)
const scryptAsync = promisify<Buffer, Buffer, number, { N: number; r: number; p: number; maxmem: number }, Buffer>(
  scrypt,
)

/** @returns the hash, or in words what is wrong with it; never a part of the text, which may be a password */
export function parseHash(text: string): PasswordHash | string {
  const [before, kind, ...fields] = text.split('$')
  if (before !== '' || kind === undefined) return 'a password that is not hashed: `meshlet mqtt passwd` writes its hash'
  switch (kind) {
    case '6':
      return fields.length === 2 ? salted({ kind: 'sha512' }, fields, SHA512_BYTES) : 'a hash of another form'
    case '7':
      return pbkdf2Of(fields)
    case 'argon2id':
      return argon2Of(fields)
    case 'scrypt':
      return scryptOf(fields)
    case 'scram-sha-256':
      return scramOf(fields)
    default:
      return 'a hash of a kind that is not known ($6$, $7$, $argon2id$, $scrypt$ and $scram-sha-256$ are)'
  }
}

export function formatHash(h: PasswordHash): string {
  switch (h.kind) {
    case 'sha512':
      return `$6$${padded(h.salt)}$${padded(h.hash)}`
    case 'pbkdf2-sha512':
      return `$7$${h.iterations}$${padded(h.salt)}$${padded(h.hash)}`
    case 'argon2id':
      return `$argon2id$v=19$m=${h.memoryKiB},t=${h.passes},p=${h.parallelism}$${bare(h.salt)}$${bare(h.hash)}`
    case 'scrypt':
      return `$scrypt$ln=${h.logN},r=${h.blockSize},p=${h.parallelism}$${bare(h.salt)}$${bare(h.hash)}`
    case 'scram-sha-256':
      return `$scram-sha-256$${h.iterations}$${padded(h.salt)}$${padded(h.storedKey)}:${padded(h.serverKey)}`
    default:
      return h satisfies never
  }
}

/** On threads of libuv; as long as the line asks for, whatever the password is. */
export async function isPassword(h: PasswordHash, password: Buffer): Promise<boolean> {
  const [wanted, found] =
    h.kind === 'scram-sha-256' ? await scramKeys(h, password) : [h.hash, await derive(h, password)]
  return timingSafeEqual(wanted, found)
}

async function scramKeys(h: ScramVerifier, password: Buffer): Promise<[Buffer, Buffer]> {
  const salted = await pbkdf2Async(password, h.salt, h.iterations, SHA256_BYTES, 'sha256')
  return [h.storedKey, scramVerifierOf(salted, h).storedKey]
}

/** StoredKey and ServerKey of RFC 5802 §3. */
function scramVerifierOf(
  salted: Buffer,
  { iterations, salt }: { readonly iterations: number; readonly salt: Buffer },
): ScramVerifier {
  const hmac = (text: string): Buffer => createHmac('sha256', salted).update(text).digest()
  const storedKey = createHash('sha256').update(hmac('Client Key')).digest()
  return { kind: 'scram-sha-256', iterations, salt, storedKey, serverKey: hmac('Server Key') }
}

async function derive(h: Exclude<PasswordHash, ScramVerifier>, password: Buffer): Promise<Buffer> {
  const { salt } = h
  const bytes = h.hash.length
  switch (h.kind) {
    case 'sha512':
      return createHash('sha512').update(password).update(salt).digest()
    case 'pbkdf2-sha512':
      return pbkdf2Async(password, salt, h.iterations, bytes, 'sha512')
    case 'argon2id':
      return argon2Async('argon2id', {
        message: password,
        nonce: salt,
        parallelism: h.parallelism,
        tagLength: bytes,
        memory: h.memoryKiB,
        passes: h.passes,
      })
    case 'scrypt':
      return scryptAsync(password, salt, bytes, {
        N: 2 ** h.logN,
        r: h.blockSize,
        p: h.parallelism,
        maxmem: 2 * MAX_HASH_MEMORY_BYTES,
      })
    default:
      return h satisfies never
  }
}

/** What new lines can be hashed with. */
export const HASH_KINDS = ['argon2id', 'scrypt', 'sha512-pbkdf2', 'scram-sha-256'] as const
export type HashKind = (typeof HASH_KINDS)[number]

/**
 * OWASP's smallest parameters: a device has little memory, and mosquitto reads argon2id and PBKDF2, too.
 * @param salt random, 12 bytes or more
 */
export async function hashPassword(kind: HashKind, password: Buffer, salt: Buffer): Promise<PasswordHash> {
  const made = async (h: Exclude<PasswordHash, ScramVerifier>): Promise<PasswordHash> => ({
    ...h,
    hash: await derive(h, password),
  })
  switch (kind) {
    case 'argon2id':
      return made({ kind, memoryKiB: 12 * 1024, passes: 3, parallelism: 1, salt, hash: Buffer.alloc(SHA256_BYTES) })
    case 'scrypt':
      return made({ kind, logN: 14, blockSize: 8, parallelism: 5, salt, hash: Buffer.alloc(SHA256_BYTES) })
    case 'sha512-pbkdf2':
      return made({ kind: 'pbkdf2-sha512', iterations: 210_000, salt, hash: Buffer.alloc(SHA512_BYTES) })
    case 'scram-sha-256': {
      const how = { iterations: 600_000, salt }
      return scramVerifierOf(await pbkdf2Async(password, salt, how.iterations, SHA256_BYTES, 'sha256'), how)
    }
    default:
      return kind satisfies never
  }
}

function pbkdf2Of([iterations = '', ...rest]: readonly string[]): PasswordHash | string {
  const count = wholeNumber(iterations, MAX_ITERATIONS)
  if (count === undefined || rest.length !== 2) return iterationsProblem(iterations)
  return salted({ kind: 'pbkdf2-sha512', iterations: count }, rest, SHA512_BYTES)
}

function argon2Of([version, parameters = '', ...rest]: readonly string[]): PasswordHash | string {
  const [m, t, p] = numbersOf(parameters, 'm', 't', 'p')
  if (version !== 'v=19' || !m || !t || !p || rest.length !== 2) return 'an argon2id hash of another form'
  if (m > MAX_HASH_MEMORY_BYTES / 1024 || m < 8 * p || t > MAX_PASSES || p > MAX_PARALLELISM)
    return `an argon2id hash that takes too much: ${MAX_HASH_MEMORY_BYTES / 1024} KiB, ${MAX_PASSES} passes and ${MAX_PARALLELISM} lanes are the most`
  return salted({ kind: 'argon2id', memoryKiB: m, passes: t, parallelism: p }, rest, undefined)
}

function scryptOf([parameters = '', ...rest]: readonly string[]): PasswordHash | string {
  const [logN, blockSize, parallelism] = numbersOf(parameters, 'ln', 'r', 'p')
  if (!logN || !blockSize || !parallelism || rest.length !== 2) return 'a scrypt hash of another form'
  if (128 * 2 ** logN * blockSize > MAX_HASH_MEMORY_BYTES || parallelism > MAX_PARALLELISM)
    return `a scrypt hash that takes too much: ${MAX_HASH_MEMORY_BYTES / 1024} KiB and p=${MAX_PARALLELISM} are the most`
  return salted({ kind: 'scrypt', logN, blockSize, parallelism }, rest, undefined)
}

function scramOf([iterations = '', salt64 = '', keys = '', ...rest]: readonly string[]): PasswordHash | string {
  const count = wholeNumber(iterations, MAX_ITERATIONS)
  if (count === undefined) return iterationsProblem(iterations)
  const [salt, storedKey, serverKey] = [salt64, ...keys.split(':')].map(base64)
  const fits =
    salt && salt.length <= MAX_SALT_BYTES && storedKey?.length === SHA256_BYTES && serverKey?.length === SHA256_BYTES
  if (!fits || rest.length > 0 || keys.split(':').length !== 2) return 'a SCRAM verifier of another form'
  return { kind: 'scram-sha-256', iterations: count, salt, storedKey, serverKey }
}

function iterationsProblem(text: string): string {
  return /^\d+$/.test(text) ? `a hash with more than ${MAX_ITERATIONS} iterations` : 'a hash of another form'
}

/** @param bytes of the hash; undefined: what a hash of choice may have */
function salted<const K extends Omit<Exclude<PasswordHash, ScramVerifier>, 'salt' | 'hash'>>(
  how: K,
  [salt64 = '', hash64 = '']: readonly string[],
  bytes: number | undefined,
): (K & { readonly salt: Buffer; readonly hash: Buffer }) | string {
  const [salt, hash] = [base64(salt64), base64(hash64)]
  const least = bytes ?? MIN_HASH_BYTES
  const most = bytes ?? MAX_HASH_BYTES
  const isHash = hash && hash.length >= least && hash.length <= most
  if (!salt || salt.length < 8 || salt.length > MAX_SALT_BYTES || !isHash) return 'a hash of another form'
  return { ...how, salt, hash }
}

function numbersOf(text: string, ...names: readonly string[]): (number | undefined)[] {
  const parts = text.split(',')
  if (parts.length !== names.length) return []
  return names.map((name, i) => {
    const [said, value = ''] = parts[i]!.split('=', 2)
    return said === name ? wholeNumber(value, 2 ** 31) : undefined
  })
}

function wholeNumber(text: string, most: number): number | undefined {
  return /^[1-9]\d{0,9}$/.test(text) && Number(text) <= most ? Number(text) : undefined
}

/** With or without padding; Node would pass over what is none of it. */
function base64(text: string): Buffer | undefined {
  const bytes = Buffer.from(text, 'base64')
  return bytes.length > 0 && bare(bytes) === text.replace(/=+$/, '') ? bytes : undefined
}
function padded(bytes: Buffer): string {
  return bytes.toString('base64')
}
function bare(bytes: Buffer): string {
  return padded(bytes).replace(/=+$/, '')
}
