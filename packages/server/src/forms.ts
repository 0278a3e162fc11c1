/** Reads forms (multipart/form-data): fields and files one after another, within the limit of bodies. */
import type { FastifyRequest } from 'fastify'
import { HttpError, invalid } from './errors.js'
import type { Limits } from './settings.js'

/** A field; its value is a string, or parsed JSON if it was sent as JSON. */
export interface FormField {
  type: 'field'
  name: string
  value: unknown
}

export interface FormFile {
  type: 'file'
  name: string
  bytes: Uint8Array
}

export function tooLarge(maxBytes: number): HttpError {
  return new HttpError(413, 'ERR_TOO_LARGE', `The request is larger than the limit of ${maxBytes} bytes`)
}

/** Errors of the parser are the client's; most have no status. */
function formError(error: unknown): unknown {
  const { statusCode, code } = error as { statusCode?: unknown; code?: unknown }
  if (typeof statusCode === 'number' && code !== 'FST_INVALID_JSON_FIELD_ERROR') return error
  return invalid(`The form cannot be read: ${(error as Error).message}`)
}

/** The parts of a form. @throws HttpError 400 if it is malformed, 413 if it is too large */
export async function* readParts(request: FastifyRequest, { maxBodyBytes }: Limits): AsyncGenerator<FormField | FormFile, void, void> {
  let left = maxBodyBytes
  const count = (bytes: number) => {
    left -= bytes
    if (left < 0) throw tooLarge(maxBodyBytes)
  }
  try {
    for await (const part of request.parts()) {
      if (part.type === 'field') {
        if (part.valueTruncated) throw tooLarge(maxBodyBytes)
        if (typeof part.value === 'string') count(Buffer.byteLength(part.value))
        yield { type: 'field', name: part.fieldname, value: part.value }
      } else {
        const bytes = await part.toBuffer()
        count(bytes.length)
        yield { type: 'file', name: part.fieldname, bytes }
      }
    }
  } catch (error) {
    throw formError(error)
  }
}
