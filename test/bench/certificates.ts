/** One CA and three P-256 leaves as files, made by openssl so that no code of ours is measured against itself. */
import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'

export type Leaf = {
  readonly chain: string
  readonly key: string
  /** Chain and key in one file, as haproxy wants them. */ readonly both: string
}
export type BenchCertificates = {
  readonly roots: string
  readonly origin: Leaf
  readonly proxy: Leaf
  readonly client: Leaf
  readonly originName: string
  readonly identityFolder: string
}

export const BENCH_TRUST_DOMAIN = 'bench.test'

export function benchCertificates(dir: string): BenchCertificates {
  const openssl = (args: string): void => {
    execFileSync('openssl', args.split(' '), { cwd: dir, stdio: ['ignore', 'ignore', 'pipe'] })
  }
  const roots = path.join(dir, 'ca.pem')
  openssl(
    'req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca.pem ' +
      '-days 2 -subj /O=bench -addext keyUsage=critical,keyCertSign,cRLSign',
  )
  const leaf = (name: string): Leaf => {
    openssl(
      `req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ${name}.key -out ${name}.csr -subj /CN=${name}`,
    )
    fs.writeFileSync(
      path.join(dir, `${name}.ext`),
      `subjectAltName=URI:spiffe://${BENCH_TRUST_DOMAIN}/ns/bench/sa/${name},DNS:${name}.test\nextendedKeyUsage=clientAuth,serverAuth\n`,
    )
    openssl(
      `x509 -req -in ${name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial ` +
        `-days 2 -extfile ${name}.ext -out ${name}.pem`,
    )
    const [chain, key, both] = [
      path.join(dir, `${name}.pem`),
      path.join(dir, `${name}.key`),
      path.join(dir, `${name}.both.pem`),
    ]
    fs.writeFileSync(both, fs.readFileSync(chain, 'utf8') + fs.readFileSync(key, 'utf8'))
    return { chain, key, both }
  }
  const [origin, proxy, client] = [leaf('origin'), leaf('proxy'), leaf('client')]
  const identityFolder = path.join(dir, 'identity')
  fs.mkdirSync(identityFolder)
  fs.copyFileSync(proxy.chain, path.join(identityFolder, 'cert-chain.pem'))
  fs.copyFileSync(proxy.key, path.join(identityFolder, 'key.pem'))
  fs.copyFileSync(roots, path.join(identityFolder, 'root-cert.pem'))
  return { roots, origin, proxy, client, originName: 'origin.test', identityFolder }
}
