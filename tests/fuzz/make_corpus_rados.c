/*
 * make_corpus_rados.c - what lies in a cluster, and the names of homes there
 * (see make_corpus.c).
 */
#include "tests/fuzz/make_corpus.h"

#include "storage/store_rados.h"

static void homes(void)
{
    static const char *const home[] = {
        "rados://p/n",
        "rados://ckpt/team-a?data_pool=ckpt.ec&conf=/etc/ceph.conf&user=u",
        "rados://p/n?user=u&user=v",
    };

    for (size_t i = 0; i < ARRAY_LEN(home); i++) {
        struct wr w = {0};
        char name[] = "home0";

        wr_u8(&w, 0);
        wr_bytes(&w, home[i], strlen(home[i]));
        name[4] = (char)('0' + i);
        corpus_put("rados", name, &w);
    }
}

void corpus_rados(void)
{
    const struct seal seal = {.bytes = 77, .nonce = {{1, 2, 3}}, .crc = 5};
    uint8_t attribute[SEAL_BYTES];
    char text[RADOS_ANCHOR_BYTES], key[CATALOG_KEY_BYTES];
    struct wr w = {0};

    homes();
    seal_encode(&seal, "r:runs/a", attribute);
    wr_u16(&w, 0x101);
    wr_bytes(&w, attribute, sizeof attribute);
    wr_bytes(&w, "r:runs/a", 8);
    corpus_put("rados", "attribute", &w);
    wr_u8(&w, 2);
    wr_bytes(&w, key, rados_key_format('b', "piece.0", 7, &seal.nonce, key));
    corpus_put("rados", "key_blob", &w);
    wr_u8(&w, 2);
    wr_bytes(&w, key, rados_key_format('d', "runs", 4, NULL, key));
    corpus_put("rados", "key_folder", &w);
    wr_u8(&w, 3);
    wr_bytes(&w, text, rados_anchor_format("ckpt.ec", text));
    corpus_put("rados", "anchor", &w);
}
