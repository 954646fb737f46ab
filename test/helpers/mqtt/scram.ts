/** The client's side of SCRAM-SHA-256 (RFC 5802 §3), written from the standard alone. */
import { createHash, createHmac, pbkdf2Sync } from 'node:crypto'

const hmac = (key: Uint8Array, text: string): Buffer => createHmac('sha256', key).update(text).digest()

export class ScramClient {
  readonly bare: string
  readonly #password: string
  #auth = ''
  #salted = Buffer.alloc(0)

  constructor(user: string, password: string, nonce = 'rOprNGfwEbeRWgbNEkqO') {
    this.bare = `n=${user.replaceAll('=', '=3D').replaceAll(',', '=2C')},r=${nonce}`
    this.#password = password
  }
  get first(): Buffer {
    return Buffer.from(`n,,${this.bare}`)
  }
  final(serverFirst: string, nonce?: string): Buffer {
    const [, both = '', salt = '', iterations = ''] = /^r=(.*),s=(.*),i=(.*)$/.exec(serverFirst) ?? []
    this.#salted = pbkdf2Sync(this.#password, Buffer.from(salt, 'base64'), Number(iterations), 32, 'sha256')
    const bareFinal = `c=biws,r=${nonce ?? both}`
    this.#auth = `${this.bare},${serverFirst},${bareFinal}`
    const key = hmac(this.#salted, 'Client Key')
    const signature = hmac(createHash('sha256').update(key).digest(), this.#auth)
    const proof = Buffer.from(key.map((byte, i) => byte ^ signature[i]!)).toString('base64')
    return Buffer.from(`${bareFinal},p=${proof}`)
  }
  isServer(last: Uint8Array | undefined): boolean {
    const wanted = hmac(hmac(this.#salted, 'Server Key'), this.#auth).toString('base64')
    return last !== undefined && Buffer.from(last).toString() === `v=${wanted}`
  }
}
