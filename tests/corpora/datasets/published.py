"""Tiny copies of published corpora, under their original names and in their original folders."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sercli.corpora.corpus import Annotation
from tests.sounds import write_tone


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Some recordings of a corpus.

    Attributes:
        recordings: Annotation by path in the original archive.
        left_out: Paths of recordings that are no part of the corpus.
        refused: What is said about names that are wrong, by path.
        texts: Content of further files by path.
    """

    recordings: Mapping[str, Annotation]
    left_out: tuple[str, ...] = ()
    refused: Mapping[str, str] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)


def say(
    emotion: str, speaker: str, gender: str, statement: str = "", intensity: str = "", repetition: str = ""
) -> Annotation:
    return Annotation(
        emotion=emotion,
        speaker=speaker,
        gender=gender,
        statement=statement,
        intensity=intensity,
        repetition=repetition,
    )


SAMPLES: dict[str, Sample] = {
    "ravdess": Sample(
        recordings={
            "Actor_01/03-01-01-01-01-01-01.wav": say("neutral", "ravdess-01", "male", "kids", "normal", "1"),
            "Actor_24/03-01-08-02-02-02-24.wav": say("surprised", "ravdess-24", "female", "dogs", "strong", "2"),
        },
        left_out=("Actor_01/03-02-01-01-01-01-01.wav", "Actor_01/01-01-01-01-01-01-01.wav"),
        refused={"Actor_01/03-01-09-01-01-01-01.wav": "emotion 09, expected 01 to 08"},
    ),
    "ravdess-song": Sample(
        recordings={
            "Actor_01/03-02-01-01-01-01-01.wav": say("neutral", "ravdess-01", "male", "kids", "normal", "1"),
            "Actor_24/03-02-06-02-02-02-24.wav": say("fearful", "ravdess-24", "female", "dogs", "strong", "2"),
        },
        left_out=("Actor_01/03-01-01-01-01-01-01.wav", "Actor_01/01-02-01-01-01-01-01.wav"),
        refused={"Actor_01/03-02-07-01-01-01-01.wav": "emotion 07, expected 01 to 06"},
    ),
    "crema-d": Sample(
        recordings={
            "AudioWAV/1001_DFA_ANG_XX.wav": say("angry", "crema-d-1001", "male", "DFA"),
            "AudioWAV/1091_IEO_HAP_HI.wav": say("happy", "crema-d-1091", "female", "IEO", "high"),
            "AudioWAV/1002_IEO_FEA_LO.wav": say("fearful", "crema-d-1002", "female", "IEO", "low"),
            "AudioWAV/1040_ITH_SAD_X.wav": say("sad", "crema-d-1040", "male", "ITH"),
        },
        refused={
            "AudioWAV/1092_DFA_ANG_XX.wav": "actor 1092, expected 1001 to 1091",
            "AudioWAV/1001_DFA_JOY_XX.wav": "emotion JOY, expected ANG, DIS, FEA, HAP, NEU, SAD",
            "AudioWAV/1001_XYZ_ANG_XX.wav": "sentence XYZ",
            "AudioWAV/1001_DFA_ANG.wav": "expected actor, sentence, emotion and level, as in 1001_DFA_ANG_XX",
        },
        texts={"VideoDemographics.csv": "ActorID,Age,Sex\n1001,51,Male\n"},
    ),
    "tess": Sample(
        recordings={
            "TESS Toronto emotional speech set data/OAF_angry/OAF_back_angry.wav": say(
                "angry", "tess-OAF", "female", "back"
            ),
            "TESS Toronto emotional speech set data/YAF_pleasant_surprised/YAF_back_ps.wav": say(
                "surprised", "tess-YAF", "female", "back"
            ),
            "TESS Toronto emotional speech set data/OAF_neutral/OA_bite_neutral.wav": say(
                "neutral", "tess-OAF", "female", "bite"
            ),
        },
        refused={
            "OAF_Sad/XAF_back_sad.wav": "speaker XAF, expected OAF, YAF",
            "OAF_Sad/OAF_back_calm.wav": "emotion calm",
        },
    ),
    "savee": Sample(
        recordings={
            "AudioData/DC/a01.wav": say("angry", "savee-DC", "male", "a01"),
            "AudioData/KL/sa15.wav": say("sad", "savee-KL", "male", "sa15"),
            "AudioData/KL/su01.wav": say("surprised", "savee-KL", "male", "su01"),
            "AudioData/JE/n30.wav": say("neutral", "savee-JE", "male", "n30"),
            "ALL/JK_f03.wav": say("fearful", "savee-JK", "male", "f03"),
        },
        refused={
            "ALL/DC_x01.wav": "emotion x, expected a, d, f, h, n, sa, su",
            "ALL/a01.wav": "as in DC_sa01, or sa01 in a folder DC",
        },
    ),
    "emodb": Sample(
        recordings={
            "wav/03a01Fa.wav": say("happy", "emodb-03", "male", "a01", "", "a"),
            "wav/16b10Wb.wav": say("angry", "emodb-16", "female", "b10", "", "b"),
            "wav/08a04Lc.wav": say("boredom", "emodb-08", "female", "a04", "", "c"),
            "wav/13a05Ea.wav": say("disgust", "emodb-13", "female", "a05", "", "a"),
            "wav/15a02Ac.wav": say("fearful", "emodb-15", "male", "a02", "", "c"),
        },
        refused={
            "wav/04a01Fa.wav": "speaker 04, expected 03 to 16",
            "wav/03a01Xa.wav": "emotion X, expected W, L, E, A, F, T, N",
        },
    ),
    "iemocap": Sample(
        recordings={
            "Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_F000.wav": say(
                "neutral", "iemocap-01F", "female", "impro01"
            ),
            "Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_M001.wav": say(
                "excited", "iemocap-01M", "male", "impro01"
            ),
            "Session5/sentences/wav/Ses05M_script01_1b/Ses05M_script01_1b_F002.wav": say(
                "frustrated", "iemocap-05F", "female", "script01_1b"
            ),
        },
        left_out=(
            "Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_F003.wav",
            "Session1/dialog/wav/Ses01F_impro01.wav",
            "Session5/dialog/wav/Ses05M_script01_1b.wav",
        ),
        refused={"Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_F999.wav": "no table of EmoEvaluation"},
        texts={
            "Session1/dialog/EmoEvaluation/Ses01F_impro01.txt": (
                "% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]\n\n"
                "[6.2901 - 8.2357]\tSes01F_impro01_F000\tneu\t[2.5000, 2.5000, 2.5000]\n"
                "C-E2:\tNeutral;\t()\n"
                "[9.0000 - 9.9000]\tSes01F_impro01_M001\texc\t[2.5000, 2.5000, 2.5000]\n"
                "[10.0100 - 11.3925]\tSes01F_impro01_F003\txxx\t[2.5000, 3.0000, 2.5000]\n"
            ),
            "Session1/dialog/EmoEvaluation/._Ses01F_impro01.txt": "\0\0",
            "Session1/dialog/EmoEvaluation/Categorical/Ses01F_impro01_e2_cat.txt": (
                "Ses01F_impro01_F000 :Happiness; ()\n"
            ),
            "Session5/dialog/EmoEvaluation/Ses05M_script01_1b.txt": (
                "[6.2901 - 8.2357]\tSes05M_script01_1b_F002\tfru\t[2.5000, 2.5000, 2.5000]\r\n"
            ),
        },
    ),
    "emovo": Sample(
        recordings={
            "EMOVO/f1/dis-f1-b1.wav": say("disgust", "emovo-f1", "female", "b1"),
            "EMOVO/m3/tri-m3-n5.wav": say("sad", "emovo-m3", "male", "n5"),
            "EMOVO/m3/gio-m3-l4.wav": say("happy", "emovo-m3", "male", "l4"),
        },
        refused={"EMOVO/f1/xyz-f1-b1.wav": "emotion xyz, expected dis, gio, neu, pau, rab, sor, tri"},
    ),
    "jl": Sample(
        recordings={
            "Raw JL corpus (unchecked and unannotated)/JL(wav+txt)/female1_angry_10a_1.wav": say(
                "angry", "jl-female1", "female", "10", "", "a1"
            ),
            "Raw JL corpus (unchecked and unannotated)/JL(wav+txt)/male2_excited_1b_2.wav": say(
                "excited", "jl-male2", "male", "1", "", "b2"
            ),
            "Raw JL corpus (unchecked and unannotated)/JL(wav+txt)/male2_worried_1b_2.wav": say(
                "concerned", "jl-male2", "male", "1", "", "b2"
            ),
        },
        refused={"JL(wav+txt)/female1_merry_10a_1.wav": "emotion merry, expected angry, sad, neutral, happy"},
        texts={"Raw JL corpus (unchecked and unannotated)/JL(wav+txt)/female1_angry_10a_1.txt": "Jack views an arm\n"},
    ),
    "esd": Sample(
        recordings={
            "Emotion Speech Dataset/0011/Angry/0011_000351.wav": say("angry", "esd-0011", "male", "en-001"),
            "Emotion Speech Dataset/0011/Neutral/0011_000350.wav": say("neutral", "esd-0011", "male", "en-350"),
            "Emotion Speech Dataset/0001/Surprise/train/0001_001750.wav": say(
                "surprised", "esd-0001", "female", "zh-350"
            ),
            "Emotion Speech Dataset/0020/Happy/evaluation/0020_000701.wav": say("happy", "esd-0020", "male", "en-001"),
        },
        refused={
            "0021/Happy/0021_000701.wav": "expected speaker 0001 to 0020 and number 000001 to 001750",
            "0011/Surprise/0011_001751.wav": "number 000001 to 001750",
        },
        texts={"Emotion Speech Dataset/0011/0011.txt": "0011_000351\tThe nine the eggs, I keep.\tAngry\n"},
    ),
    "shemo": Sample(
        recordings={
            "female/F01A01.wav": say("angry", "shemo-F01", "female"),
            "female/F31F02.wav": say("fearful", "shemo-F31", "female"),
            "male/M01W23.wav": say("surprised", "shemo-M01", "male"),
        },
        refused={"male/M01X23.wav": "emotion X, expected A, N, S, W, H, F"},
    ),
    "mesd": Sample(
        recordings={
            "Anger_C_A_abajo.wav": say("angry", "", "child", "A_abajo"),
            "Happiness_F_B_así.wav": say("happy", "", "female", "B_así"),
            "Sadness_M_A_adiós amigo.wav": say("sad", "", "male", "A_adiós amigo"),
        },
        refused={"Joy_C_A_abajo.wav": "emotion Joy, expected Anger, Disgust", "Anger_X_A_abajo.wav": "voice X"},
    ),
}


def make_published(folder: Path, corpus: str, *, suffix: str = ".wav") -> Path:
    """Writes the recordings of a corpus, each a tone of its own, and its further files; returns the folder."""
    sample = SAMPLES[corpus]
    for number, name in enumerate(sample.recordings):
        write_tone((folder / name).with_suffix(suffix), seconds=0.1, frequency=200 + 50 * number)
    for name, text in sample.texts.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, newline="")
    return folder
