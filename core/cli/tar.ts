/** A tar archive of small files (POSIX.1-2001 ustar). */

export type TarEntry = { /** At most 100 bytes. */ readonly name: string; readonly content: string }

const BLOCK = 512

export function createTar(entries: readonly TarEntry[], modified: Date): Buffer {
  const parts = entries.flatMap(({ name, content }) => {
    const bytes = Buffer.from(content)
    return [header(name, bytes.length, modified), bytes, Buffer.alloc((BLOCK - (bytes.length % BLOCK)) % BLOCK)]
  })
  // Two blocks of zeros end it.
  return Buffer.concat([...parts, Buffer.alloc(2 * BLOCK)])
}

function header(name: string, length: number, modified: Date): Buffer {
  const made = Buffer.alloc(BLOCK)
  const octal = (value: number, digits: number): string => `${value.toString(8).padStart(digits, '0')}\0`
  const put = (at: number, text: string): void => {
    made.write(text, at, 'latin1')
  }
  put(0, name)
  put(100, octal(0o600, 7))
  put(108, octal(0, 7))
  put(116, octal(0, 7))
  put(124, octal(length, 11))
  put(136, octal(Math.floor(modified.getTime() / 1000), 11))
  put(148, ' '.repeat(8))
  put(156, '0')
  put(257, 'ustar\0' + '00')
  const sum = made.reduce((all, byte) => all + byte, 0)
  put(148, `${sum.toString(8).padStart(6, '0')}\0 `)
  return made
}
