/** Where the certificate comes from, what peers are verified by, and what goes on when certificates expire. */
import * as z from 'zod'
import { file } from './fields.ts'

export const identity = () =>
  z.strictObject({
    /**
     * Certificates that something else renews, in Istio's names: cert-chain.pem, key.pem, root-cert.pem, and ca-crl.pem
     * if there is one.
     */
    folder: file().optional(),
    /** Kind of key that is made for a certificate of the control plane's CA. */
    key: z.enum(['ecdsa-p256', 'rsa-2048', 'rsa-3072', 'rsa-4096']).default('ecdsa-p256'),
    /** The long-lived key by which a hub knows this device (`control.hub`). */
    deviceKey: z
      .strictObject({
        /**
         * Program that has the key, e.g. in a TPM: with `public` it writes the public key (P-256, PEM), with `sign FILE`
         * the ECDSA signature over the file's SHA-256 (DER, in base64). Default: a file of the state folder.
         */
        command: z.array(z.string().min(1)).min(1).max(32).optional(),
      })
      .prefault({}),
    /** File with 32 bytes (as they are, or base64) that key and certificate are encrypted with on disk. */
    encryptionKey: file().optional(),
    /** PEM file with further roots that peers are verified by; looked at again every minute. */
    extraRoots: file().optional(),
    /** PEM file with a revocation list of every CA of the mesh; looked at again every minute. */
    crl: file().optional(),
    /** What goes on when certificates have expired and the control plane is away. */
    expired: z
      .strictObject({
        mode: z.enum(['strict', 'site-grace', 'serve-local']).default('strict'),
        graceHours: z
          .number()
          .positive()
          .max(24 * 366)
          .default(72),
        /** Whose expired certificates count, too; our own trust domain's do. */
        trustDomains: z
          .array(
            z
              .string()
              .regex(/^[a-z0-9._-]{1,255}$/, 'must be a trust domain: lower-case letters, digits, `.`, `_` and `-`'),
          )
          .max(100)
          .default([]),
        /**
         * Connections that are open when our certificate expires `end`, or are `keep`t as Envoy does; `end-with-peer`:
         * also when the one expires that the peer connected with.
         */
        openConnections: z.enum(['end', 'end-with-peer', 'keep']).default('end'),
        /** From there to when what is still under way is cut; 0 = at once. */
        endWithinMs: z.number().int().nonnegative().default(30_000),
      })
      .prefault({}),
  })
